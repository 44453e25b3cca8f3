"""Runs checks, and says for each how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import httpx

from chatwright.doctor.answer import Unanswered
from chatwright.doctor.catalogue import Topic
from chatwright.doctor.check import Check, Failed, Unknown
from chatwright.doctor.client import Client

Verdict = Literal["holds", "fails", "unknown"]


@dataclass(frozen=True)
class Result:
    """How a check ended; `reason` is empty where it holds."""

    topic: str
    check: Check
    verdict: Verdict
    reason: str = ""


def examine(client: Client, topics: Iterable[Topic]) -> Iterator[Result]:
    """Run all checks of the topics, one after the other."""
    for topic in topics:
        for one in topic.checks:
            yield judge(client, topic.name, one)


def judge(client: Client, topic: str, check: Check) -> Result:
    """Run one check. Whatever it raises is a verdict: a server that answers nonsense must not end the examination."""
    try:
        check.run(client)
    except Failed as failed:
        return Result(topic, check, "fails", str(failed))
    except Unknown as reason:
        return Result(topic, check, "unknown", str(reason))
    except Unanswered as refusal:
        field = refusal.unsupported
        why = f"the server says that it can't honour {field}" if field else str(refusal)
        return Result(topic, check, "unknown" if field else "fails", why)
    except httpx.HTTPError as error:
        return Result(topic, check, "fails", f"no response: {type(error).__name__} {error}".strip())
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return Result(topic, check, "fails", f"not the shape it must have: {type(error).__name__} {error}")
    return Result(topic, check, "holds")
