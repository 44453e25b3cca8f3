"""Names in the environment that look like settings but are none: a misspelt setting must not be ignored in silence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

PREFIX = "CHATWRIGHT_"

_OTHERS = frozenset({"CONFIG", "API_KEY", "SIMULATION_SECONDS"})
"""The file, the doctor's key, and what the tests take besides TEST_..."""

# Kubernetes gives each container the addresses of the services beside it: CHATWRIGHT_SERVICE_HOST of a service `chatwright`.
_SERVICE_LINK = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def unknown_names(environment: Mapping[str, str], settings: Iterable[str]) -> list[str]:
    """A line for each name that begins with CHATWRIGHT_ and means nothing, with what may have been meant."""
    known = {name.upper() for name in settings}
    lines = []
    for name in sorted(environment):
        if not name.upper().startswith(PREFIX):
            continue
        member = name.upper().removeprefix(PREFIX).split("__")[0]
        if (
            member not in known | _OTHERS
            and not member.startswith("TEST_")
            and not _foreign(environment, name)
        ):
            lines.append(f"{name[:100]}: there is no such setting{_meant(member, known | _OTHERS)}")
    return lines


def _foreign(environment: Mapping[str, str], name: str) -> bool:
    return bool(
        _SERVICE_LINK.fullmatch(name.upper().removeprefix(PREFIX)) or _ADDRESS.match(environment[name])
    )


def _meant(member: str, known: Iterable[str]) -> str:
    close = get_close_matches(member[:64], sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {PREFIX}{close[0]}?" if close else ""
