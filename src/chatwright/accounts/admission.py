"""What a request does with its account, in one place: limits, budgets and ledger, at its start and end."""

from __future__ import annotations

from collections.abc import Mapping

from chatwright.accounts.account import Account
from chatwright.accounts.budgets import Budgets
from chatwright.accounts.clock import Clock, unix_ms
from chatwright.accounts.contents import Content
from chatwright.accounts.ledger import EndStatus, Ledger, LedgerEntry, Opening
from chatwright.accounts.limits import RateLimiter, RateLimitStatus, Reservation
from chatwright.accounts.prices import FREE, Price
from chatwright.accounts.store import Store
from chatwright.core.usage import Usage


class Admission:
    """An admitted request. Whatever happens to it, call `end`."""

    def __init__(self, reservation: Reservation, entry: LedgerEntry, price: Price) -> None:
        """Made by `Admissions.admit`."""
        self._reservation = reservation
        self._entry = entry
        self._price = price

    @property
    def rate_limits(self) -> RateLimitStatus:
        """The caller's limits with this request reserved; once it has ended, with what it used."""
        return self._reservation.status

    async def first_token(self) -> None:
        """Take the time to the first token, then wait until the request is on the ledger.

        Await it before any token is shown: what isn't on the ledger isn't served. Raises BudgetExceeded,
        Overloaded like `Admissions.admit`; the request is then ended as "refused".
        """
        self._entry.mark_first_token()
        await self._entry.recorded()

    async def end(
        self,
        status: EndStatus,
        usage: Usage,
        finish_reason: str | None = None,
        content: Content | None = None,
    ) -> None:
        """Settle limits and bill. The first call counts, even if its caller is cancelled meanwhile.

        Returns once the bill is committed: await it before the answer's last bytes are sent. "refused" gives
        the limits back whole. `content` is kept beside the bill.
        """
        self._entry.close(status, usage, self._price.cost(usage), finish_reason, content)
        if status == "refused":
            await self._reservation.cancel()
        else:
            await self._reservation.settle(usage.total_tokens)
        await self._entry.closed()


class Admissions:
    """Admits requests."""

    def __init__(
        self,
        store: Store,
        limiter: RateLimiter,
        ledger: Ledger,
        prices: Mapping[str, Price],
        clock: Clock = unix_ms,
    ) -> None:
        """`prices` by model slug; a model without one is free."""
        self._store = store
        self._limiter = limiter
        self._ledger = ledger
        self._budgets = Budgets(store, clock)
        self._prices = dict(prices)

    def set_prices(self, prices: Mapping[str, Price]) -> None:
        """Replace the prices, as after a reload. Requests that run keep theirs."""
        self._prices = dict(prices)

    async def check(self, account: Account) -> RateLimitStatus:
        """Refuse before the body is read what would be refused anyway. Takes nothing.

        Raises LimitReached, BudgetExceeded, Overloaded.
        """
        status = await self._limiter.check(account)
        if account.has_budget:
            await self._store.run(self._budgets.check, account)
        return status

    async def status(self, account: Account) -> RateLimitStatus:
        """The caller's limits now. Raises Overloaded."""
        return await self._limiter.status(account)

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
        """Reserve prompt_tokens + max_tokens and open the row, whose commit is awaited only under a budget.

        Raises LimitReached, BudgetExceeded, Overloaded; whatever it raises, nothing stays charged.
        """
        price = self._prices.get(model, FREE)
        tokens = prompt_tokens + max_tokens
        reservation = await self._limiter.reserve(account, model, tokens)
        opening = Opening(
            request_id=request_id,
            key_id=account.key_id,
            project_id=account.project_id,
            model=model,
            user=user,
            service_tier=service_tier,
            metadata=dict(metadata or {}),
            reserved_tokens=tokens,
            reserved_cost=price.highest_cost(prompt_tokens, max_tokens),
        )
        entry = self._ledger.open(opening)
        admission = Admission(reservation, entry, price)
        if account.has_budget:
            await _confirm(entry, admission)
        return admission


async def _confirm(entry: LedgerEntry, admission: Admission) -> None:
    try:
        await entry.recorded()
    except BaseException:  # a cancelled caller, too, must leave nothing behind
        await admission.end("refused", Usage())
        raise
