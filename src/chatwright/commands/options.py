"""Options that several commands share, and the values people write for them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from chatwright.accounts.account import KeyLimits
from chatwright.accounts.store import Store
from chatwright.config import ConfigError, load

ConfigOption = Annotated[Path | None, typer.Option("--config", envvar="CHATWRIGHT_CONFIG", help="TOML file.")]
HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Where models and keys lie (CHATWRIGHT_HOME).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RequestsOption = Annotated[int | None, typer.Option("--rpm", min=0, help="Requests a minute.")]
TokensOption = Annotated[int | None, typer.Option("--tpm", min=0, help="Tokens a minute, input and output.")]
ConcurrencyOption = Annotated[int | None, typer.Option("--concurrency", min=0, help="Requests at once.")]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        help="AMOUNT/month (or AMOUNT alone) or AMOUNT/day, enforced; with /reported behind it only reported. May be repeated.",
    ),
]
WebhookOption = Annotated[
    str | None,
    typer.Option("--webhook", help="Where its budgets report 75, 90 and 100 %; needs webhook_secret."),
]
TiersOption = Annotated[
    str | None,
    typer.Option("--tiers", help="Service tiers it may ask for, with commas; default: default,flex."),
]
GroupOption = Annotated[
    str | None,
    typer.Option("--cache-group", help="Share the prefix cache with this group; default: with nobody."),
]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,9})([smhd])")


def limits_of(rpm: int | None, tpm: int | None, concurrency: int | None) -> KeyLimits:
    """The three options as a value."""
    return KeyLimits(rpm, tpm, concurrency)


def names(text: str | None) -> frozenset[str] | None:
    """A list with commas; None where nothing was said."""
    return None if text is None else frozenset(part.strip() for part in text.split(",") if part.strip())


def duration_ms(text: str, option: str) -> int:
    """Milliseconds of "90s", "15m", "12h" or "30d". Raises ConfigError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ConfigError(f"{option} = {text!r}: write a duration such as 90s, 15m, 12h or 30d")
    return int(match[1]) * _SECONDS[match[2]] * 1000


def moment_ms(text: str, option: str, now: int, *, past: bool = False) -> int:
    """Unix milliseconds of a date or time in ISO 8601 (UTC where it names no zone), or of a duration from now, or before
    now for `past`. Raises ConfigError.
    """
    if _DURATION.fullmatch(text):
        return now + (-1 if past else 1) * duration_ms(text, option)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{option} = {text!r}: write a date such as 2027-01-31, a time such as 2027-01-31T12:00, or 30d"
        ) from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return int(aware.timestamp() * 1000)


def shown_time(unix_ms: int | None) -> str:
    """A time for people, in UTC."""
    if unix_ms is None:
        return ""
    return dt.datetime.fromtimestamp(unix_ms // 1000, dt.UTC).strftime("%Y-%m-%d %H:%M")


@contextmanager
def opened(config: Path | None, home: Path | None) -> Iterator[tuple[Store, bytes]]:
    """The database and the pepper of its keys, closed afterwards."""
    from chatwright.server.app import open_store  # noqa: PLC0415  half a second that other commands need not wait

    store, pepper = open_store(load(config, home=home))
    try:
        yield store, pepper
    finally:
        store.close()
