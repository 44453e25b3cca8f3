"""What the walk asks of the accounts: admit a request, and hear of its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from chatwright.accounts.account import Account
from chatwright.accounts.contents import Content
from chatwright.accounts.ledger import EndStatus
from chatwright.accounts.limits import RateLimitStatus
from chatwright.core.usage import Usage


class Admission(Protocol):
    """An admitted request; `end` must be called whatever happens to it, the first call counts."""

    @property
    def rate_limits(self) -> RateLimitStatus:
        """The caller's limits with this request reserved; once it has ended, with what it used."""

    async def first_token(self) -> None:
        """The first token is there and about to be shown. Raises BudgetExceeded, Overloaded."""

    async def end(
        self,
        status: EndStatus,
        usage: Usage,
        finish_reason: str | None = None,
        content: Content | None = None,
    ) -> None:
        """Settle limits and bill, and keep the content."""


class Admissions(Protocol):
    """Admits requests; `accounts.admission.Admissions` is the one with limits and a ledger."""

    async def check(self, account: Account) -> RateLimitStatus:
        """Refuse what would be refused whatever the body says. Raises RateLimited, BudgetExceeded, Overloaded."""

    async def status(self, account: Account) -> RateLimitStatus:
        """The caller's limits now. Raises Overloaded."""

    async def admit(
        self,
        account: Account,
        *,
        model: str,
        request_id: str,
        prompt_tokens: int,
        max_tokens: int,
        user: str | None = None,
        service_tier: str = "default",
        metadata: Mapping[str, str] | None = None,
    ) -> Admission:
        """Reserve tokens and open the ledger's row. Raises RateLimited, BudgetExceeded, Overloaded."""


class Unmetered:
    """Admits everybody and keeps no books: for tests and tools. It is its own admission."""

    rate_limits = RateLimitStatus()

    async def check(self, account: Account) -> RateLimitStatus:
        """No limits."""
        return self.rate_limits

    async def status(self, account: Account) -> RateLimitStatus:
        """No limits."""
        return self.rate_limits

    async def admit(self, account: Account, **_: object) -> Admission:
        """Always."""
        return self

    async def first_token(self) -> None:
        """Nothing to note."""

    async def end(
        self,
        status: EndStatus,
        usage: Usage,
        finish_reason: str | None = None,
        content: Content | None = None,
    ) -> None:
        """Nothing to settle."""
