"""`--budget` of keys and projects."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, get_args

from chatwright.accounts.budgets import Budgets
from chatwright.accounts.prices import parse_amount
from chatwright.accounts.spending import Budget, BudgetPeriod, BudgetSubject
from chatwright.accounts.store import Store
from chatwright.config import ConfigError, load
from chatwright.core.errors import InvalidValue


class Wanted(NamedTuple):
    """A budget as the option has it, in 10^-12 units."""

    amount: int
    period: BudgetPeriod
    enforced: bool
    webhook_url: str | None = None


def wanted_budgets(
    texts: list[str] | None, webhook: str | None, config: Path | None, home: Path | None
) -> list[Wanted]:
    """Parse "25", "25/month" or "2.50/day/reported". Raises ConfigError, also for a webhook that nothing would be sent to."""
    wanted = [_wanted(text)._replace(webhook_url=webhook) for text in texts or []]
    if webhook is not None and not wanted:
        raise ConfigError("--webhook is where a budget reports: give --budget with it")
    if webhook is not None and load(config, home=home).webhook_secret is None:
        raise ConfigError("--webhook: webhooks are signed, and there is no webhook_secret")
    return wanted


def _wanted(text: str) -> Wanted:
    amount, _, rest = text.partition("/")
    period, _, mode = (rest or "month").partition("/")
    if period not in get_args(BudgetPeriod) or mode not in ("", "enforced", "reported"):
        raise ConfigError(
            f"--budget = {text!r}: write AMOUNT, AMOUNT/day or AMOUNT/month, and /reported behind the latter if wanted"
        )
    try:
        return Wanted(parse_amount(amount), "day" if period == "day" else "month", mode != "reported")
    except InvalidValue as error:
        raise ConfigError(f"--budget = {text!r}: {error.message}") from None


def set_budgets(store: Store, kind: BudgetSubject, subject_id: str, wanted: list[Wanted]) -> list[Budget]:
    """Make or replace them."""
    budgets = Budgets(store)
    return [
        budgets.set(
            kind, subject_id, one.period, one.amount, enforced=one.enforced, webhook_url=one.webhook_url
        )
        for one in wanted
    ]
