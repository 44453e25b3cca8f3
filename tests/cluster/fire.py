"""Requests on a cluster on which something dies meanwhile: every token and every row of the ledger is compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tests.cluster.conftest import Heard, Site

STREAMS = 12
GREEDY = {"temperature": 0, "max_tokens": 120}


def heard_in_peace(site: Site) -> dict[int, Heard]:
    """What each request gets when nothing happens."""

    async def ask() -> list[Heard]:
        async with site.client() as client:
            return await asyncio.gather(*(site.stream(client, n, **GREEDY) for n in range(STREAMS)))

    heard = asyncio.run(ask())
    assert all(one.done and one.tokens == 120 for one in heard), heard
    return dict(enumerate(heard))


async def closed_rows(site: Site, wanted: list[Heard]) -> dict[str, Any]:
    """The ledger's rows of these requests, once all have been closed."""
    deadline = time.monotonic() + 30
    ids = {one.id for one in wanted}
    while True:
        rows = {name: row for name, row in site.billed().items() if name in ids}
        if len(rows) == len(ids) and all(row.closed_at for row in rows.values()):
            return rows
        assert time.monotonic() < deadline, "the ledger does not close them"
        await asyncio.sleep(0.2)


async def under_fire(
    site: Site, reference: dict[int, Heard], strike: Callable[[], Any], said: str = "can be sent again"
) -> tuple[list[Heard], list[Heard]]:
    """The reference's requests again, half of them after `strike` has been called amid the others: whole ones, and broken
    ones, which were told what is `said`.
    """
    begun = [asyncio.Event() for _ in range(STREAMS)]
    async with site.client() as client:
        first = [asyncio.create_task(site.stream(client, n, begun[n], **GREEDY)) for n in range(STREAMS)]
        await asyncio.gather(*(one.wait() for one in begun[: STREAMS // 2]))
        striking = asyncio.create_task(asyncio.to_thread(strike))
        later = [asyncio.create_task(site.stream(client, n, **GREEDY)) for n in range(STREAMS)]
        heard = await asyncio.gather(*first, *later)
        await striking
    whole, broken = [], []
    for number, one in enumerate(heard):
        expected = reference[number % STREAMS]
        if one.error is None:
            assert one.done
            assert (one.text, one.tokens, one.finish) == (expected.text, 120, "length"), number
            whole.append(one)
        else:
            assert one.tokens > 0, "a request without a token goes to another replica"
            assert expected.text.startswith(one.text), "no token lost or doubled before the end"
            assert (one.status, one.error["type"], one.finish) == (200, "server_error", None)
            assert said in one.error["message"]
            broken.append(one)
    rows = await closed_rows(site, whole + broken)
    assert [rows[one.id].output_tokens for one in whole] == [one.tokens for one in whole]
    assert [rows[one.id].output_tokens for one in broken] == [one.tokens for one in broken]
    return whole, broken


def running(site: Site, replicas: int) -> None:
    """Returns once the cluster has settled with so many replicas of the model."""

    def settled(found: dict[str, Any]) -> bool:
        models = [one for name, one in found.items() if "-model-" in name]
        return len(models) == 1 and models[0]["replicas"] == [{"RUNNING": replicas}]

    site.nodes.until(settled, f"{replicas} replicas")
