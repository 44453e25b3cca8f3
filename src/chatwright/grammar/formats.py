"""String formats as regular expressions where llguidance's own take what common readers refuse: 30 February, second 60, numbers
too long for a duration. All of them are stricter than their RFCs and bounded in length.
"""

from __future__ import annotations

_YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
"""Divisible by 4; whole centuries by 400."""
_DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_TIME = (
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_DAYS = "(?:[0-9]{1,4}Y(?:[0-9]{1,4}M(?:[0-9]{1,4}D)?)?|[0-9]{1,4}M(?:[0-9]{1,4}D)?|[0-9]{1,6}D)"
_HOURS = "(?:[0-9]{1,6}H(?:[0-9]{1,4}M(?:[0-9]{1,4}S)?)?|[0-9]{1,6}M(?:[0-9]{1,4}S)?|[0-9]{1,6}S)"
_LABEL = "(?:[A-Za-z0-9]{1,20}-){0,2}[A-Za-z0-9]{1,20}"

PATTERNS = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "duration": f"^P(?:{_DAYS}(?:T{_HOURS})?|T{_HOURS}|[0-9]{{1,4}}W)$",
    "email": f"^(?:[A-Za-z0-9][._+-]?){{0,31}}[A-Za-z0-9]@(?:{_LABEL}\\.){{1,3}}[A-Za-z]{{2,12}}$",
}
LENGTHS = {"hostname": 253}
"""Most characters of formats that llguidance doesn't bound."""
