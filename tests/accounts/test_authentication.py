from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatwright.accounts import authentication
from chatwright.accounts.account import Account, KeyLimits
from chatwright.accounts.authentication import Authenticator
from chatwright.accounts.budgets import Budgets
from chatwright.accounts.keys import IssuedKey, KeyChanges, Keys, KeySettings
from chatwright.accounts.projects import ProjectChanges, Projects
from chatwright.accounts.store import Store
from chatwright.core.errors import InvalidApiKey, Overloaded

PEPPER = b"p" * 32


@pytest.fixture
def keys(store: Store, clock: Callable[[], int]) -> Keys:
    return Keys(store, PEPPER, clock)


@pytest.fixture
def authenticator(store: Store, clock: Callable[[], int]) -> Authenticator:
    return Authenticator(store, PEPPER, ["local secret", "Schlüssel"], clock)


async def refused(authenticator: Authenticator, text: str) -> str:
    with pytest.raises(InvalidApiKey) as caught:
        await authenticator.authenticate(text)
    return caught.value.message


async def test_key_gives_its_account_with_limits_of_key_and_project(
    store: Store, keys: Keys, authenticator: Authenticator
) -> None:
    project = Projects(store).create("team", limits=KeyLimits(100, 200, 300), weight=4.0)
    issued = keys.create(KeySettings("ci", limits=KeyLimits(1, 2, 3), models=frozenset({"m"})), "team")
    assert await authenticator.authenticate(issued.secret) == Account(
        key_id=issued.key.id,
        name="ci",
        project_id=project.id,
        cache_group=f"key:{issued.key.id}",
        scopes=frozenset({"inference"}),
        models=frozenset({"m"}),
        weight=4.0,
        limits=KeyLimits(1, 2, 3),
        project_limits=KeyLimits(100, 200, 300),
    )


async def test_every_refusal_says_the_same(
    keys: Keys, authenticator: Authenticator, clock: Callable[[], int]
) -> None:
    def make(name: str, **settings: object) -> IssuedKey:
        return keys.create(KeySettings(name, **settings))  # type: ignore[arg-type]

    good, expired = make("good"), make("expired", expires_at=clock())
    revoked, rotated = make("revoked"), make("rotated")
    keys.revoke(revoked.key.id)
    keys.rotate(rotated.key.id)
    texts = [
        "",
        "cw-",
        "cw-0000000000-" + "0" * 48,
        "local secre",
        "x" * 513,
        good.secret[:-1],
        good.secret + "0",
    ]
    texts += [good.secret.upper(), expired.secret, revoked.secret, rotated.secret, "\udcff", "cw-ü-ü"]
    assert len({await refused(authenticator, text) for text in texts}) == 1
    assert (await authenticator.authenticate(good.secret)).name == "good"


async def test_changes_by_another_process_hold_for_the_next_request(
    store: Store, keys: Keys, authenticator: Authenticator, database_url: str
) -> None:
    issued = keys.create(KeySettings("a"))
    await authenticator.authenticate(issued.secret)
    elsewhere = Store(database_url)
    Keys(elsewhere, PEPPER).update(issued.key.id, KeyChanges(limits=KeyLimits(9)))
    Projects(elsewhere).update("default", ProjectChanges(weight=9.0))
    account = await authenticator.authenticate(issued.secret)
    assert (account.limits.requests_per_minute, account.weight) == (9, 9.0)
    Keys(elsewhere, PEPPER).revoke(issued.key.id)
    elsewhere.close()
    await refused(authenticator, issued.secret)


async def test_both_secrets_work_while_a_rotation_overlaps(
    keys: Keys, authenticator: Authenticator, clock: Callable[[], int]
) -> None:
    old = keys.create(KeySettings("a"))
    new = keys.rotate(old.key.id, overlap_ms=1000)
    for issued in (old, new):
        assert (await authenticator.authenticate(issued.secret)).key_id == old.key.id
    clock.advance(seconds=1)  # type: ignore[attr-defined]
    await refused(authenticator, old.secret)
    await authenticator.authenticate(new.secret)


async def test_another_pepper_makes_every_key_invalid(store: Store, keys: Keys) -> None:
    issued = keys.create(KeySettings("a"))
    await refused(Authenticator(store, b"q" * 32), issued.secret)


async def test_cache_is_shared_only_within_a_group(
    store: Store, keys: Keys, authenticator: Authenticator
) -> None:
    Projects(store).create("team", cache_group="team")
    made = [keys.create(KeySettings("a")), keys.create(KeySettings("b"))]
    made += [keys.create(KeySettings("c"), "team"), keys.create(KeySettings("d"), "team")]
    made += [keys.create(KeySettings("e", cache_group="own"), "team")]
    a, b, c, d, e = [(await authenticator.authenticate(issued.secret)).cache_group for issued in made]
    assert c == d == "group:team"
    assert e == "group:own"
    assert len({a, b, c, e}) == 4


async def test_group_can_not_be_named_like_a_key(keys: Keys, authenticator: Authenticator) -> None:
    victim = keys.create(KeySettings("a"))
    thief = keys.create(KeySettings("b", cache_group=f"key:{victim.key.id}"))
    groups = [(await authenticator.authenticate(issued.secret)).cache_group for issued in (victim, thief)]
    assert groups[0] != groups[1]


async def test_account_knows_of_enforced_budgets(
    store: Store, keys: Keys, authenticator: Authenticator
) -> None:
    alone, member = keys.create(KeySettings("a")), keys.create(KeySettings("b"))

    async def watched() -> list[bool]:
        return [(await authenticator.authenticate(issued.secret)).has_budget for issued in (alone, member)]

    budgets = Budgets(store)
    assert await watched() == [False, False]
    budgets.set("project", "default", "day", 1, enforced=False)
    assert await watched() == [False, False]
    budgets.set("key", alone.key.id, "day", 1)
    assert await watched() == [True, False]
    budgets.set("project", "default", "day", 1)
    assert await watched() == [True, True]


async def test_environment_account_knows_of_enforced_budgets(
    store: Store, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def watched() -> list[bool]:
        secrets = ("local secret", "Schlüssel")
        return [(await authenticator.authenticate(secret)).has_budget for secret in secrets]

    budgets = Budgets(store)
    budgets.set("project", "env", "day", 1, enforced=False)
    assert await watched() == [False, False]
    budgets.set("key", "env-2", "day", 1)
    assert await watched() == [False, True]
    budgets.set("project", "env", "day", 1)
    assert await watched() == [True, True]

    async def away(work: object) -> None:
        raise Overloaded("away")

    budgets.remove(budgets.list()[0].budget.id)
    monkeypatch.setattr(store, "glance", away)
    assert await watched() == [True, True], "who can't be looked up is checked later"


async def test_environment_keys_are_numbered_accounts_that_share_nothing(
    authenticator: Authenticator,
) -> None:
    first = await authenticator.authenticate("local secret")
    second = await authenticator.authenticate("Schlüssel")
    assert (first.key_id, second.key_id) == ("env-1", "env-2")
    assert (first.project_id, first.scopes) == ("env", frozenset({"inference"}))
    assert first.cache_group != second.cache_group
    assert "local secret" not in repr(vars(authenticator))


@pytest.mark.parametrize("text", ["", "x" * 513])
def test_environment_key_of_bad_length_is_refused(sqlite_store: Store, text: str) -> None:
    with pytest.raises(ValueError, match="environment"):
        Authenticator(sqlite_store, PEPPER, [text])


async def test_unknown_prefix_is_compared_like_a_known_one(
    keys: Keys, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = keys.create(KeySettings("a")).secret
    compared: list[int] = []

    def compare(known: bytes, offered: bytes) -> bool:
        compared.append(len(known))
        return known == offered

    monkeypatch.setattr(authentication.hmac, "compare_digest", compare)
    lengths = []
    for text in (
        secret[:-1] + ("0" if secret[-1] != "0" else "1"),
        "cw-0000000000-" + "0" * 48,
        "no key of ours",
    ):
        compared.clear()
        await refused(authenticator, text)
        lengths.append(tuple(compared))
    assert lengths == [(32, 32, 32)] * 3


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec=None, exclude_categories=()), max_size=60))
def test_no_text_but_a_key_is_let_in(sqlite_store: Store, text: str) -> None:
    authenticator = Authenticator(sqlite_store, PEPPER)
    with pytest.raises(InvalidApiKey):
        asyncio.run(authenticator.authenticate(text))
