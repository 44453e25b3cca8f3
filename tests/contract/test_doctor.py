"""Our own server in the doctor's chair: every check of it, run from outside against the real model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

from chatwright.cli import app
from chatwright.doctor import catalogue
from chatwright.doctor.catalogue import Topic, topics
from chatwright.doctor.check import Check, Failed, check
from chatwright.doctor.client import Client
from chatwright.doctor.run import Result, judge
from chatwright.models.catalog import DEFAULT_SLUG

PAIRS = [(topic, one) for topic in topics() for one in topic.checks]


@pytest.fixture(scope="module")
def verdict(request, live) -> Iterator[Callable[[Topic, Check], Result]]:
    """Verdicts of the selected checks, made a few at a time: a server that keeps its contract keeps it under load."""
    client = Client(live.url, "contract-key", DEFAULT_SLUG)
    chosen = [
        item.callspec.params["pair"]
        for item in request.session.items
        if "pair" in getattr(item, "fixturenames", ())
    ]
    with ThreadPoolExecutor(4) as pool:
        futures: dict[str, Future[Result]] = {
            f"{topic.name}: {one.id}": pool.submit(judge, client, topic.name, one) for topic, one in chosen
        }
        yield lambda topic, one: futures[f"{topic.name}: {one.id}"].result()
    client.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0].name}: {pair[1].id}")
def test_check_holds(verdict, pair, refuses):
    result = verdict(*pair)
    if refuses and result.verdict == "unknown":  # refused by name, or its answers show nothing of it
        pytest.skip(result.reason)
    assert (result.verdict, result.reason) == ("holds", "")


def test_checks_have_their_own_names():
    names = [(topic.name, one.id) for topic, one in PAIRS]
    assert len(set(names)) == len(names)
    assert all(one.section for _, one in PAIRS)


def test_command_prints_what_holds(live):
    arguments = ["doctor", live.url, "--key", "contract-key", "--model", DEFAULT_SLUG, "--topic", "usage"]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.output
    assert found.output.splitlines()[-1] == "6 checks: 6 hold, 0 fail, 0 can't be judged here."
    as_json = CliRunner().invoke(app, [*arguments, "--json"])
    assert {one["verdict"] for one in json.loads(as_json.output)["results"]} == {"holds"}


@pytest.mark.parametrize(
    ("key", "model", "status"), [("wrong", DEFAULT_SLUG, 401), ("contract-key", "no/such", 404)]
)
def test_command_judges_nothing_where_the_key_or_the_model_is_wrong(live, key, model, status):
    found = CliRunner().invoke(app, ["doctor", live.url, "--key", key, "--model", model, "--topic", "usage"])
    assert found.exit_code == 1
    assert f"answered {status}" in found.output
    assert "hold" not in found.output


def test_command_fails_where_something_fails(live, monkeypatch):
    @check("1.1")
    def broken(client):
        """It fails"""
        raise Failed("as it must")

    monkeypatch.setattr(catalogue, "topics", lambda: (Topic("Usage", "here", (broken,)),))
    arguments = ["doctor", live.url, "--key", "contract-key", "--model", DEFAULT_SLUG]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 1
    assert "as it must" in found.output


def test_command_where_nobody_answers():
    found = CliRunner().invoke(app, ["doctor", "http://127.0.0.1:9", "--model", "m"])
    assert found.exit_code == 1
    assert "doesn't answer" in found.output
