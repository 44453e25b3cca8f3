"""Reading and writing the admin API's JSON."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from chatwright.api.body import parse_object, read_body
from chatwright.core.errors import (
    InvalidRequest,
    InvalidType,
    InvalidValue,
    MissingParameter,
    UnknownParameter,
)

T = TypeVar("T", bound=msgspec.Struct)

MAX_BYTES = 64 * 1024
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)
_RANGE = re.compile(r"[<>]=|enum value")
_FIELD = re.compile(r"field `([^`]*)`")


async def read(request: Request, type_: type[T], *, optional: bool = False) -> T:
    """The body as a value; none is an empty one where it is `optional`. Raises InvalidRequest with its `param`,
    RequestTooLarge, ClientDisconnected.
    """
    body = await read_body(request.receive, request.scope["headers"], MAX_BYTES)
    value = {} if optional and not body else parse_object(body)
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise _problem(str(error)) from None


def _problem(text: str) -> InvalidRequest:
    """msgspec's message and path in our words: "Expected `str`, got `int` - at `$.name`"."""
    match = _PLACE.match(text)
    assert match is not None
    what, path = match["what"], (match["path"] or "").lstrip(".")
    field = _FIELD.search(what)
    if field is not None:
        param = f"{path}.{field[1]}".lstrip(".")
        if "missing" in what:
            return MissingParameter(f"'{param}' is missing.", param=param)
        return UnknownParameter(f"There is no parameter '{param[:200]}'.", param=param[:200])
    wrong = InvalidValue if _RANGE.search(what) else InvalidType
    return wrong(f"{path or 'The body'}: {what}.", param=path or None)


def answer(value: msgspec.Struct, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def query(request: Request, known: Iterable[str]) -> dict[str, str]:
    """The parameters of the URL. Raises UnknownParameter for others, InvalidRequest for one given twice."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise UnknownParameter(f"There is no parameter {name[:200]!r}.", param=name[:200])
        if name in given:
            raise InvalidRequest(f"'{name}' is given twice.", param=name)
        given[name] = value
    return given


def changes_of(body: msgspec.Struct) -> dict[str, Any]:
    """The members that were given, lists as sets."""
    given = {
        name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET
    }
    return {name: frozenset(value) if isinstance(value, list) else value for name, value in given.items()}


def moment(given: dict[str, str], name: str) -> int | None:
    """Unix milliseconds of Unix seconds, or of a date or time in ISO 8601, in UTC where it names no zone."""
    text = given.get(name)
    if text is None:
        return None
    if text.isdecimal() and text.isascii() and len(text) <= 12:
        return int(text) * 1000
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidValue(f"{name} must be Unix seconds or a date such as 2027-01-31.", param=name) from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return int(aware.timestamp() * 1000)
