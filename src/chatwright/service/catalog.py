"""The models that are served now, by slug and alias."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chatwright.accounts.account import Account
from chatwright.core.errors import ModelNotFound, PermissionDenied
from chatwright.service.capabilities import offered
from chatwright.service.catalog_view import ModelCard
from chatwright.service.model import ServedModel


class Catalog:
    """Slugs are matched exactly, case included; a slug of one model wins over an alias of another."""

    def __init__(self, models: Iterable[ServedModel]) -> None:
        self.replace(models)

    def replace(self, models: Iterable[ServedModel]) -> None:
        """Serve these from now on. Requests that have found their model keep it."""
        self._models = {model.card.id: model for model in models}
        self._by_name = {
            alias: model for model in self._models.values() for alias in model.card.aliases
        } | self._models

    def models(self) -> Sequence[ModelCard]:
        """Cards in the order of configuration, with what their engines can do."""
        return [offered(model.card, model.engine) for model in self._models.values()]

    def served(self) -> Sequence[ServedModel]:
        """Everything that is served."""
        return list(self._models.values())

    def resolve(self, slug: str, account: Account) -> ServedModel:
        """The model a request names. Raises ModelNotFound; PermissionDenied where the key may not use it."""
        model = self._by_name.get(slug)
        if model is None:
            raise ModelNotFound(
                f"The model {slug[:200]!r} does not exist. GET /v1/models lists those that do.", param="model"
            )
        if account.models is not None and not any(
            self._by_name.get(name) is model for name in account.models
        ):
            raise PermissionDenied(f"This API key may not use the model {slug[:200]!r}.", param="model")
        return model
