"""The x-ratelimit headers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from chatwright.accounts.buckets import BucketState
from chatwright.accounts.limits import LimitReached, RateLimitStatus
from chatwright.api.rate_limits import duration, headers, remember, remembered_refusal
from chatwright.core.errors import Overloaded

STATUS = RateLimitStatus(requests=BucketState(60, 59, 1000), tokens=BucketState(1000, 0, 61_500))


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0ms"),
        (999, "999ms"),
        (1000, "1s"),
        (1500, "1.5s"),
        (60_000, "1m0s"),
        (61_500, "1m1.5s"),
        (3_603_000, "1h0m3s"),
    ],
)
def test_duration_is_written_as_openai_does(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text


def test_headers_tell_both_kinds() -> None:
    scope = {"state": {}}
    assert headers(scope) == []
    remember(scope, STATUS)
    assert dict(headers(scope)) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1s",
        b"x-ratelimit-limit-tokens": b"1000",
        b"x-ratelimit-remaining-tokens": b"0",
        b"x-ratelimit-reset-tokens": b"1m1.5s",
    }


def test_what_can_change_is_told_as_it_is_when_the_answer_begins() -> None:
    scope = {"state": {}}
    now = [RateLimitStatus(requests=BucketState(60, 59, 1000)), RateLimitStatus()]
    remember(scope, now.pop)
    assert headers(scope) == []
    assert (b"x-ratelimit-remaining-requests", b"59") in headers(scope)


def test_caller_without_limits_gets_no_headers() -> None:
    scope = {"state": {}}
    remember(scope, RateLimitStatus())
    assert headers(scope) == []


def test_refusal_is_remembered_and_passed_on() -> None:
    scope = {"state": {}}
    with pytest.raises(LimitReached), remembered_refusal(scope):
        raise LimitReached("no", "tokens per minute of this key", STATUS, 61.5)
    assert (b"x-ratelimit-remaining-tokens", b"0") in headers(scope)


def remaining(response: httpx.Response) -> tuple[str | None, ...]:
    return tuple(response.headers.get(f"x-ratelimit-remaining-{kind}") for kind in ("requests", "tokens"))


@pytest.fixture
def limited(service: Any) -> Any:
    """A service whose caller has used nothing before a request, and something with it."""
    service.status = RateLimitStatus(BucketState(60, 60, 0), BucketState(1000, 1000, 0))
    settled = RateLimitStatus(BucketState(60, 59, 1000), BucketState(1000, 990, 600))
    service.status_of_answer = lambda: settled if service.closed.is_set() else RateLimitStatus()
    return service


async def test_an_answer_counts_itself_a_whole_one_what_it_used(limited: Any, client: Any, body: Any) -> None:
    whole = await client.post("/v1/chat/completions", json=body)
    assert remaining(whole) == ("59", "990")
    reserved = RateLimitStatus(BucketState(60, 59, 1000), BucketState(1000, 900, 6000))
    limited.status_of_answer = lambda: reserved
    streamed = await client.post("/v1/chat/completions", json=body | {"stream": True})
    assert remaining(streamed) == ("59", "900")


@pytest.mark.parametrize(
    ("changes", "status"), [({"temperature": "x"}, 400), ({"unknown": 1}, 400), ({"messages": []}, 400)]
)
async def test_a_refused_request_cost_nothing(
    limited: Any, client: Any, body: Any, changes: Any, status: int
) -> None:
    response = await client.post("/v1/chat/completions", json=body | changes)
    assert (response.status_code, remaining(response)) == (status, ("60", "1000"))


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/other", "/v1/models/none", "/metrics"])
async def test_every_answer_to_a_known_caller_tells_its_limits(limited: Any, client: Any, path: str) -> None:
    response = await client.get(path)
    assert remaining(response) == ("60", "1000") or response.json()["error"]["code"] == "not_found"
    assert "x-ratelimit-limit-requests" not in (await client.get("/health")).headers


async def test_a_body_that_says_it_is_too_large_is_so_before_any_limit(
    limited: Any, client: Any, settings: Any
) -> None:
    limited.refused_at_once = LimitReached("no", "requests", STATUS, 61.5)
    big = await client.post("/v1/chat/completions", content=b"x" * (settings.body_bytes + 1))
    assert (big.status_code, remaining(big)) == (413, ("60", "1000"))
    small = await client.post("/v1/chat/completions", content=b"not even JSON")
    assert (small.status_code, remaining(small)) == (429, ("59", "0"))


async def test_a_limit_that_only_the_request_itself_reaches_is_told_too(
    limited: Any, client: Any, body: Any
) -> None:
    limited.refusal = LimitReached("no", "tokens per minute of this model", STATUS, 61.5)
    response = await client.post("/v1/chat/completions", json=body)
    assert (response.status_code, remaining(response)) == (429, ("59", "0"))
    assert response.headers["retry-after"] == "62"


async def test_limits_that_cannot_be_looked_up_spoil_no_answer(limited: Any, client: Any) -> None:
    limited.lookup_fails = Overloaded("Redis is away")
    assert (await client.get("/v1/models")).status_code == 200
