"""Numbers as a grammar can hold them: llguidance computes in doubles, and digits must come to an end."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

INTEGER_LIMIT = 9_223_372_036_854_774_784
"""The greatest double below 2^63."""
NUMBER_LIMIT = 10**17
"""Bounds of numbers with a fraction work up to here."""
FINEST = 1e-9
"""The step of numbers that have bounds, so that their decimals end."""
BOUNDS = {"minimum": True, "exclusiveMinimum": True, "maximum": False, "exclusiveMaximum": False}
"""Whether a bound is a lower one."""
_WIDE = 1e-6
"""Bounds that are closer together keep all decimals."""


MOST_STEPS = 100_000
"""Of a multiple, in units of its last digit: a mask takes time by them."""
_MOST_BESIDE_BOUNDS = 5_000
_MOST_BESIDE_OUR_BOUNDS = 1_000


def exact(value: Any) -> bool:
    """Whether a number is written by llguidance as it was read."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) <= 2**53:
        return True
    try:
        return int(Decimal(repr(float(value)))) == value
    except OverflowError:
        return False


def inward(bound: float, *, up: bool) -> float:
    """The nearest number that a double holds and that is no wider a bound."""
    if exact(bound):
        return bound
    limit = math.inf if up else -math.inf
    try:
        near = float(bound)
    except OverflowError:
        return math.inf if bound > 0 else -math.inf
    while (Decimal(repr(near)) < bound) if up else (Decimal(repr(near)) > bound):
        near = math.nextafter(near, limit)
    return int(Decimal(repr(near))) if math.isfinite(near) else near


def settle(out: dict[str, Any]) -> str:
    """Bounds within what can be enforced, and digits that end. Returns the keyword that asks for more, "" for none."""
    named = out.get("type", [])
    kinds = set(named if isinstance(named, list) else [named])
    whole = "integer" in kinds and "number" not in kinds
    limit = INTEGER_LIMIT if whole else NUMBER_LIMIT
    for keyword, up in BOUNDS.items():
        if keyword not in out:
            continue
        bound = inward(out[keyword], up=up)
        if (bound > limit) if up else (bound < -limit):
            return keyword
        out[keyword] = max(bound, -limit) if up else min(bound, limit)
    bounded = bool(BOUNDS.keys() & out.keys())
    if _steps(out.get("multipleOf", 1)) > (_MOST_BESIDE_BOUNDS if bounded else MOST_STEPS):
        return "multipleOf"
    if "enum" not in out and "const" not in out:
        _end_digits(out, limit, whole=whole)
    return ""


def _end_digits(out: dict[str, Any], limit: int, *, whole: bool) -> None:
    """A model that goes on with zeros is stopped before `max_tokens` does."""
    lows = [out[name] for name in ("minimum", "exclusiveMinimum") if name in out]
    highs = [out[name] for name in ("maximum", "exclusiveMaximum") if name in out]
    if not lows and not highs and not (whole and _steps(out.get("multipleOf", 1)) <= _MOST_BESIDE_OUR_BOUNDS):
        return  # free numbers keep their exponents
    if not lows:
        out["minimum"] = -limit
    if not highs:
        out["maximum"] = limit
    narrow = bool(lows and highs) and min(highs) - max(lows) < _WIDE
    if not whole and not narrow:
        out.setdefault("multipleOf", FINEST)


def _steps(multiple: float) -> int:
    """The multiple in units of its last digit."""
    _, digits, exponent = Decimal(repr(multiple)).as_tuple()
    number = int("".join(map(str, digits)))
    return number * 10 ** min(exponent, 400) if isinstance(exponent, int) and exponent > 0 else number
