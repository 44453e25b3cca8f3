"""What members must have in common to stand for each other, and what they are together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from chatwright.core.engine import EngineInfo, EngineStats
from chatwright.core.errors import EngineFailed

MUST_AGREE = ("vocab_size", "context_length", "unsupported")


def agreed_info(infos: Mapping[str, EngineInfo], expected: EngineInfo | None = None) -> EngineInfo | None:
    """What holds of all members; None without any. Raises EngineFailed where a request that one can serve another can't.

    The fingerprint is theirs where it is one, else stands for all of them: a seed then gives the same answer only while
    the same member serves it.
    """
    found = list(infos.items())
    if not found:
        return expected
    name, first = found[0]
    reference = expected or first
    for other_name, other in found:
        for field in MUST_AGREE:
            ours, theirs = getattr(reference, field), getattr(other, field)
            if _comparable(ours) != _comparable(theirs):
                against = "the settings" if expected is not None else f"replica {name}"
                raise EngineFailed(
                    f"Replica {other_name} differs from {against}: {field} is {theirs!r} instead of {ours!r}."
                )
    return msgspec.structs.replace(
        reference,
        fingerprint=joined_fingerprint(info.fingerprint for info in infos.values()),
        supports_logprobs=all(info.supports_logprobs for info in infos.values()),
    )


def _comparable(value: object) -> object:
    return frozenset(value) if isinstance(value, tuple) else value


def joined_fingerprint(fingerprints: Iterable[str]) -> str:
    """One for a set of builds, whatever their order and number."""
    distinct = sorted(set(fingerprints))
    if len(distinct) == 1:
        return distinct[0]
    return hashlib.blake2b("\n".join(distinct).encode(), digest_size=8).hexdigest()


def summed(readings: Iterable[EngineStats]) -> EngineStats:
    """All of them as one engine."""
    all_readings = list(readings)
    return EngineStats(
        **{
            field: sum(getattr(reading, field) for reading in all_readings)
            for field in EngineStats.__struct_fields__
        }
    )
