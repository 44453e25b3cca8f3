"""What is noted of a request while it runs, and who is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

from chatwright.accounts.ledger import EndStatus
from chatwright.core.usage import Usage


@dataclass(slots=True)
class RequestRecord:
    """Times are of `perf_counter`, in seconds. `queue_seconds` is how long the engine let it wait, `grammar_seconds`
    how long its grammar took to be compiled or found; 0 is for none.
    """

    request_id: str
    key_id: str
    project_id: str
    model: str
    service_tier: str
    metadata: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=perf_counter)
    first_token: float | None = None
    last_token: float | None = None
    queue_seconds: float = 0.0
    grammar_seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)
    status: EndStatus | None = None
    finish_reason: str | None = None
    ended: float | None = None


class Observer(Protocol):
    """Is told of every request. It must not wait and not raise."""

    def tokens(self, record: RequestRecord, count: int) -> None:
        """The engine has given so many more tokens; the record's times are those of the ones before."""

    def ended(self, record: RequestRecord) -> None:
        """The request is over, its record complete. Called once."""


class Unobserved:
    """Notes nothing: for tests and tools."""

    def tokens(self, record: RequestRecord, count: int) -> None:
        """Nothing."""

    def ended(self, record: RequestRecord) -> None:
        """Nothing."""
