from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chatwright.accounts.account import Account
from chatwright.accounts.authentication import Authenticator
from chatwright.accounts.budgets import Budgets
from chatwright.accounts.contents import Content
from chatwright.accounts.credentials import load_pepper
from chatwright.accounts.ledger import Ledger, Opening
from chatwright.accounts.store import Store
from chatwright.cli import app
from chatwright.config import ConfigError
from chatwright.core.errors import InvalidApiKey, InvalidValue, NotFound
from chatwright.core.usage import Usage


class Cli:
    """The command, on a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.runner = CliRunner()

    def __call__(self, *arguments: str) -> str:
        result = self.runner.invoke(app, [*arguments, "--home", str(self.home)])
        if result.exception is not None:
            raise result.exception
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    def store(self) -> Store:
        return Store(f"sqlite:///{self.home}/chatwright.db")

    def account(self, secret: str) -> Account:
        store = self.store()
        try:
            authenticator = Authenticator(store, load_pepper(self.home / "pepper"))
            return asyncio.run(authenticator.authenticate(secret))
        finally:
            store.close()


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("COLUMNS", "40")  # of a terminal: what is read by a program is not cut off
    return Cli(tmp_path)


def test_a_key_is_made_with_every_option_and_shown_once(cli: Cli) -> None:
    project = cli.json("projects", "create", "--name", "team", "--tpm", "900", "--weight", "2")
    made = cli.json(
        *("keys", "create", "--name", "app", "--project", "team", "--rpm", "5", "--tpm", "700"),
        *("--concurrency", "2", "--budget", "25", "--budget", "0.5/day/reported"),
        *("--models", "a, b", "--scopes", "inference,metrics", "--tiers", "flex,priority", "--expires", "1d"),
    )
    assert made.keys() == {"id", "key", "name", "project"}
    account = cli.account(made["key"])
    assert (account.key_id, account.project_id, account.weight) == (made["id"], project["id"], 2.0)
    assert account.limits.requests_per_minute == 5
    assert account.limits.tokens_per_minute == 700
    assert account.limits.concurrent_requests == 2
    assert account.project_limits.tokens_per_minute == 900
    assert account.models == {"a", "b"}
    assert account.scopes == {"inference", "metrics"}
    assert account.service_tiers == {"flex", "priority"}
    assert account.has_budget
    listed = cli.json("keys", "list")
    assert [key["id"] for key in listed] == [made["id"]]
    assert listed[0]["expires_at"] is not None
    text = cli("keys", "list")
    assert made["id"] in text
    assert made["key"] not in text
    store = cli.store()
    budgets = {(b.budget.period, b.budget.amount, b.budget.enforced) for b in Budgets(store).list()}
    store.close()
    assert budgets == {("month", 25 * 10**12, True), ("day", 5 * 10**11, False)}


def test_rotation_overlaps_and_revocation_is_at_once(cli: Cli) -> None:
    first = cli.json("keys", "create", "--name", "a")
    second = cli.json("keys", "rotate", first["id"], "--overlap", "1h")
    assert cli.account(first["key"]).key_id == cli.account(second["key"]).key_id == first["id"]
    third = cli("keys", "rotate", first["id"]).strip()
    with pytest.raises(InvalidApiKey):
        cli.account(second["key"])
    assert cli.account(third).key_id == first["id"]
    assert cli("keys", "revoke", first["id"]).strip() == first["id"]
    with pytest.raises(InvalidApiKey):
        cli.account(third)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["keys", "create", "--name", "a", "--budget", "5/week"], ConfigError),
        (["keys", "create", "--name", "a", "--budget", "five/day"], ConfigError),
        (["keys", "create", "--name", "a", "--expires", "tomorrow"], ConfigError),
        (["keys", "create", "--name", "a", "--scopes", "root"], InvalidValue),
        (["keys", "create", "--name", "a", "--tiers", "scale"], InvalidValue),
        (["keys", "create", "--name", "a", "--tpm", str(10**11)], InvalidValue),
        (["keys", "create", "--name", "a", "--project", "none"], NotFound),
        (["keys", "rotate", "key_0", "--overlap", "soon"], ConfigError),
        (["usage", "--by", "colour"], ConfigError),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_no_key(
    cli: Cli, arguments: list[str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        cli(*arguments)
    assert cli.json("keys", "list") == []


def test_a_project_changes_only_what_is_given(cli: Cli) -> None:
    cli("projects", "create", "--name", "team", "--rpm", "5", "--tpm", "900")
    changed = cli.json("projects", "update", "team", "--tpm", "50", "--tiers", "priority", "--name", "crew")
    assert (changed["requests_per_minute"], changed["tokens_per_minute"]) == (5, 50)
    assert changed["service_tiers"] == ["priority"]
    assert [row["name"] for row in cli.json("projects", "list")] == ["default", "crew"]


def test_usage_is_the_sum_of_the_ledger(cli: Cli) -> None:
    key = cli.json("keys", "create", "--name", "a")["id"]
    store = cli.store()
    ledger = Ledger(store)
    ledger.start()
    for tokens in (3, 4):
        entry = ledger.open(Opening("req", key, "default", "m", user="ann"))
        entry.close("finished", Usage(10, tokens, 2), tokens * 10**12)
    ledger.close()
    store.close()
    (row,) = cli.json("usage", "--by", "key")
    assert (row["key"], row["requests"], row["finished"]) == (key, 2, 2)
    assert (row["input_tokens"], row["cached_tokens"], row["output_tokens"]) == (20, 4, 7)
    assert row["cost"] == "7"
    assert [r["user"] for r in cli.json("usage", "--by", "user")] == ["ann"]
    head, line = csv.reader(io.StringIO(cli("usage", "--by", "model", "--csv")))
    assert dict(zip(head, line, strict=True))["output_tokens"] == "7"
    assert cli.json("usage", "--by", "day", "--until", "1h") == []
    assert len(cli.json("usage", "--by", "day", "--since", "1h")) == 1
    assert key in cli("usage")


def test_budgets_report_to_a_webhook_where_it_can_be_signed(cli: Cli) -> None:
    where = ("--webhook", "https://hooks.example/budget")
    with pytest.raises(ConfigError, match="webhook_secret"):
        cli("keys", "create", "--name", "a", "--budget", "5/day", *where)
    config = cli.home / "c.toml"
    config.write_text('webhook_secret = "0123456789abcdef"')
    with pytest.raises(ConfigError, match="--budget"):
        cli("keys", "create", "--name", "a", *where, "--config", str(config))
    with pytest.raises(InvalidValue, match="http"):
        cli(
            "projects",
            "create",
            "--name",
            "p",
            "--budget",
            "5/day",
            "--webhook",
            "mailto:a@b",
            "--config",
            str(config),
        )
    cli("keys", "create", "--name", "a", "--budget", "5/day", *where, "--config", str(config))
    cli("projects", "update", "default", "--budget", "7/month", *where, "--config", str(config))
    cli("projects", "update", "default", "--budget", "8/day")
    store = cli.store()
    found = {(b.budget.subject_kind, b.budget.period): b.budget.webhook_url for b in Budgets(store).list()}
    store.close()
    assert found == {("key", "day"): where[1], ("project", "month"): where[1], ("project", "day"): None}


def test_prompts_are_kept_listed_shown_and_forgotten(cli: Cli) -> None:
    project = cli.json("projects", "create", "--name", "team", "--store-prompts", "--retention-days", "3")
    assert (project["store_prompts"], project["retention_days"]) == (True, 3)
    secret = cli.json("keys", "create", "--name", "a", "--project", "team")["key"]
    assert cli.account(secret).stores_prompts
    store = cli.store()
    ledger = Ledger(store)
    ledger.start()
    opening = Opening("req", "k", project["id"], "m", metadata={"team": "x[bold]"})
    ledger.open(opening).close("finished", Usage(1, 2), 0, "stop", Content("asked", "said"))
    ledger.open(Opening("bare", "k", project["id"], "m")).close("failed", Usage(), 0)
    ledger.close()
    store.close()
    bare, row = cli.json("requests", "list", "--project", project["id"])
    assert "team=x[bold]" in cli("requests", "list")
    assert json.loads(cli("requests", "show", row["id"]))["content"]["answer"] == "said"
    assert json.loads(cli("requests", "show", bare["id"]))["content"] is None
    assert cli("requests", "forget", row["id"]).strip() == row["id"]
    with pytest.raises(NotFound):
        cli("requests", "forget", row["id"])
    assert cli("projects", "forget-prompts", "team").strip() == "0"
    cli("projects", "update", "team", "--no-store-prompts")
    assert not cli.account(secret).stores_prompts
    assert cli.json("projects", "list")[1]["retention_days"] == 3
