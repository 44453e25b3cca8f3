"""Slugs, aliases, and who may use them."""

from __future__ import annotations

import msgspec
import pytest

from chatwright.core.errors import ModelNotFound, PermissionDenied
from chatwright.service.catalog import Catalog
from chatwright.service.catalog_view import ModelCard


@pytest.fixture
def catalog(new_model, recut):
    def card(slug, *aliases):
        return ModelCard(slug, 0, "o", slug, 10, 9, aliases=aliases)

    return Catalog(
        new_model(recut(()), card=one) for one in (card("a/one", "first", "a/two"), card("a/two", "second"))
    )


@pytest.fixture
def restricted(account):
    return lambda *models: msgspec.structs.replace(account, models=frozenset(models))


@pytest.mark.parametrize(
    ("name", "slug"), [("a/one", "a/one"), ("first", "a/one"), ("second", "a/two"), ("a/two", "a/two")]
)
def test_slugs_and_aliases_resolve_and_a_slug_wins(catalog, account, name, slug):
    assert catalog.resolve(name, account).card.id == slug


@pytest.mark.parametrize("name", ["", "A/one", "a/one ", "one", "x" * 5000])
def test_unknown_names(catalog, account, name):
    with pytest.raises(ModelNotFound) as caught:
        catalog.resolve(name, account)
    assert caught.value.param == "model"
    assert len(caught.value.message) < 400


def test_key_with_a_list_of_models(catalog, restricted):
    assert catalog.resolve("first", restricted("a/one")).card.id == "a/one"
    assert catalog.resolve("first", restricted("first")).card.id == "a/one"
    assert catalog.resolve("a/one", restricted("none", "first")).card.id == "a/one", (
        "as GET /v1/models lists it"
    )
    for allowed in ("a/one", "first", "none"):
        with pytest.raises(PermissionDenied):
            catalog.resolve("second", restricted(allowed))
    with pytest.raises(PermissionDenied):
        catalog.resolve("a/one", restricted("a/two"))  # which names the other model, whatever its aliases


def test_cards_keep_their_order(catalog):
    assert [card.id for card in catalog.models()] == ["a/one", "a/two"]
    assert [model.card.id for model in catalog.served()] == ["a/one", "a/two"]
