"""Counts requests while they run. One event loop's thread calls it, so there are no locks."""

from __future__ import annotations

from time import perf_counter
from typing import Protocol

from chatwright.core.usage import Usage
from chatwright.telemetry.counts import Counts, ModelCounts


class Record(Protocol):
    """What is read of a request; the service's record has it. Times are of `perf_counter`, in seconds."""

    @property
    def key_id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def began(self) -> float: ...
    @property
    def first_token(self) -> float | None: ...
    @property
    def last_token(self) -> float | None: ...
    @property
    def queue_seconds(self) -> float: ...
    @property
    def grammar_seconds(self) -> float: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def status(self) -> str | None: ...
    @property
    def finish_reason(self) -> str | None: ...


class RequestCounter:
    """Adds every request to `counts`. `tokens` is on the path of every chunk: a look-up and a bisection."""

    def __init__(self) -> None:
        self.counts = Counts()

    def tokens(self, record: Record, count: int) -> None:
        """So many tokens came just now."""
        now = perf_counter()
        model = self.counts.model(record.model)
        if record.last_token is None:
            model.time_to_first_token.observe(now - record.began)
            model.queue.observe(record.queue_seconds)
            if record.grammar_seconds:
                model.grammar.observe(record.grammar_seconds)
            model.prefill.observe(max(0.0, now - record.began - record.queue_seconds))
        elif count:
            model.inter_token.observe((now - record.last_token) / count, count)
        model.output_tokens += count

    def ended(self, record: Record) -> None:
        """The request is over."""
        model, usage = self.counts.model(record.model), record.usage
        reason = _reason(record)
        model.ended[reason] = model.ended.get(reason, 0) + 1
        model.end_to_end.observe(perf_counter() - record.began)
        model.prompt_tokens += usage.prompt_tokens
        model.cached_tokens += usage.cached_tokens
        model.accepted_drafts += usage.accepted_prediction_tokens
        model.rejected_drafts += usage.rejected_prediction_tokens
        if record.first_token is not None and record.last_token is not None:
            _observe_answer(model, record.last_token - record.first_token, usage)
            model.inference.observe(max(0.0, record.last_token - record.began - record.queue_seconds))
        key = self.counts.key(record.key_id)
        key.requests += 1
        key.input_tokens += usage.prompt_tokens
        key.output_tokens += usage.completion_tokens


def _observe_answer(model: ModelCounts, seconds: float, usage: Usage) -> None:
    model.decode.observe(seconds)
    model.prompt_lengths.observe(usage.prompt_tokens)
    model.output_lengths.observe(usage.completion_tokens)
    if usage.completion_tokens > 1:
        model.per_output_token.observe(seconds / (usage.completion_tokens - 1))


def _reason(record: Record) -> str:
    if record.status == "aborted":
        return "abort"
    if record.status in ("finished", "stopped"):
        return record.finish_reason or "stop"
    return "refused" if record.status == "refused" else "error"
