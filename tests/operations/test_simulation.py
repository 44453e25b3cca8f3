"""Forty keys at once on the real model: whatever they do, the ledger's bill is what the clients counted, to the token.

CHATWRIGHT_SIMULATION_SECONDS makes it longer; `make test-long` plays five minutes, on one process and on two.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from chatwright.accounts.account import KeyLimits
from chatwright.accounts.budgets import Budgets
from chatwright.accounts.prices import Price
from chatwright.accounts.projects import Projects
from chatwright.accounts.tables import ledger
from chatwright.core.usage import Usage

SECONDS = float(os.environ.get("CHATWRIGHT_SIMULATION_SECONDS", "6"))
KEYS, PROJECTS = 40, 8
PRICE = Price.per_million(input_price="1", cached_price="0.25", output_price="3")
BUDGET = 100_000_000  # 10^-12 units: one request or two
REQUESTS_PER_MINUTE = 6
QUESTIONS = ("Tell a story.", "Name three rivers of Europe, please.", "Why is the sky blue? " * 20, "Hi")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS * 2 + 120)]


@dataclass
class Counted:
    """What a client knows of its request. Of an abandoned one, the least that was made."""

    key: str
    usage: Usage
    abandoned: bool = False


@dataclass
class Team:
    """One key and everything its client has seen."""

    name: str
    key_id: str
    secret: str
    limited: bool = False
    broke: bool = False
    counted: dict[str, Counted] = field(default_factory=dict)
    refusals: list[int] = field(default_factory=list)


def usage_of(wire: dict[str, Any]) -> Usage:
    details = wire.get("prompt_tokens_details") or {}
    return Usage(wire["prompt_tokens"], wire["completion_tokens"], details.get("cached_tokens", 0))


async def live(team: Team, client: httpx.AsyncClient, dice: random.Random, ends: float, ask: Any) -> None:
    """Ask, read, abandon, pause, until the time is over."""
    for number in itertools.count():
        undecided = team.broke and not (team.counted and team.refusals)
        if time.monotonic() > ends and number and not undecided:
            return
        request_id = f"{team.name}-{number}"
        headers = {"authorization": f"Bearer {team.secret}", "x-request-id": request_id}
        members: dict[str, Any] = {
            "messages": [{"role": "user", "content": dice.choice(QUESTIONS)}],
            "max_tokens": dice.randint(1, 40),
            "temperature": 1,
            "service_tier": dice.choice(["auto", "default", "flex"]),
            "user": team.name,
        }
        if dice.random() < 0.5:
            await stream(team, client, headers, ask(**members), dice, request_id)
        else:
            answer = await client.post("/v1/chat/completions", json=ask(**members), headers=headers)
            if answer.status_code == 200:
                team.counted[request_id] = Counted(team.key_id, usage_of(answer.json()["usage"]))
            else:
                team.refusals.append(answer.status_code)
        await asyncio.sleep(dice.expovariate(4))


async def stream(
    team: Team, client: httpx.AsyncClient, headers: Any, body: Any, dice: random.Random, request_id: str
) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = body | {"stream": True, "stream_options": options}
    patience = dice.randint(1, 10) if dice.random() < 0.3 else 10_000
    async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        if answer.status_code != 200:
            team.refusals.append(answer.status_code)
            return
        seen, last = 0, Usage()
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                assert "error" not in event, event
                last = usage_of(event["usage"]) if event.get("usage") else last
                seen += 1
            if seen >= patience:
                team.counted[request_id] = Counted(team.key_id, last, abandoned=True)
                return
            if line == "data: [DONE]":
                team.counted[request_id] = Counted(team.key_id, last)


def founded(site) -> list[Team]:
    """Forty keys in eight projects; some have a limit, one has hardly any money."""
    projects = [
        Projects(site.store).create(f"team {number}", weight=1 + number % 3) for number in range(PROJECTS)
    ]
    teams = []
    for number in range(KEYS):
        limited = number % 5 == 0
        limits = KeyLimits(requests_per_minute=REQUESTS_PER_MINUTE) if limited else KeyLimits()
        issued = site.key(limits=limits, project=projects[number % PROJECTS].id)
        teams.append(Team(f"t{number}", issued.key.id, issued.secret, limited=limited, broke=number == 1))
    Budgets(site.store).set("key", teams[1].key_id, "month", BUDGET)
    return teams


async def simulate(site, teams: list[Team], ask: Any) -> None:
    ends = time.monotonic() + SECONDS
    limits = httpx.Limits(max_connections=KEYS)
    async with httpx.AsyncClient(base_url=site.url, timeout=90, limits=limits) as client:
        dice = [random.Random(number) for number in range(KEYS)]
        await asyncio.gather(*(live(t, client, d, ends, ask) for t, d in zip(teams, dice, strict=True)))


@pytest.mark.parametrize("workers", [1, 2] if SECONDS > 60 else [1])
async def test_the_ledger_bills_what_forty_teams_have_counted(site, ask, request, workers) -> None:
    settings = {"redis_url": request.getfixturevalue("redis_server").url} if workers > 1 else {}
    price = "price = { input = 1, cached_input = 0.25, output = 3 }\n"
    site.write(site.native() + price, workers=workers, log_level="warning", **settings)
    teams = founded(site)
    site.start()
    await simulate(site, teams, ask)
    assert site.stop() == 0

    rows = {row.request_id: row for row in site.store.read(lambda c: c.execute(sa.select(ledger)).all())}
    counted = {name: one for team in teams for name, one in team.counted.items()}
    assert len(counted) > 40
    assert {one.key for one in counted.values()} == {team.key_id for team in teams}
    for name, one in counted.items():
        row = rows.pop(name)
        assert row.key_id == one.key
        billed = Usage(row.input_tokens, row.output_tokens, row.cached_tokens)
        assert row.cost == PRICE.cost(billed)
        if one.abandoned:
            assert row.status in ("aborted", "finished", "stopped")
            assert billed.completion_tokens >= one.usage.completion_tokens
        else:
            assert row.status == "finished"
            assert billed == one.usage, name
    # What is left was refused once admitted: it costs nothing.
    assert {(row.status, row.cost) for row in rows.values()} <= {("refused", 0)}

    by_key = {row["key"]: row for row in site.usage("key")}
    by_project = site.usage("project")
    assert sum(row["output_tokens"] for row in by_key.values()) == sum(
        row["output_tokens"] for row in by_project
    )
    for team in teams:
        admitted = len(team.counted)
        if team.limited:
            assert admitted <= REQUESTS_PER_MINUTE * (1 + (SECONDS + 60) / 60)
            assert set(team.refusals) <= {429}
        elif team.broke:
            assert set(team.refusals) == {402}
            cost = site.store.read(
                lambda c, key=team.key_id: c.execute(
                    sa.select(sa.func.sum(ledger.c.cost)).where(ledger.c.key_id == key)
                ).scalar_one()
            )
            assert 0 < cost <= BUDGET
        else:
            assert team.refusals == []
