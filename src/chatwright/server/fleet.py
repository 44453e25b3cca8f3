"""The models of one process: started together, exchanged while others serve, ended."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence

from chatwright.config import ConfigError
from chatwright.core.engine import Engine
from chatwright.model_config import ModelSettings
from chatwright.service.catalog import Catalog
from chatwright.service.model import ServedModel

log = logging.getLogger("chatwright")

Make = Callable[[ModelSettings], ServedModel]
"""Installs a model if need be and gives it an engine, which is not started."""

GRACE_SECONDS = 2.0
"""A request that found its model just before it was taken out may still be on its way to the engine."""
_POLL_SECONDS = 0.2
_IDLE_READINGS = 2  # a reading of zeros may also mean that the engine was too busy to answer


class Fleet:
    """Starts, replaces and ends models. `catalog` has those that are served now."""

    def __init__(self, wanted: Sequence[ModelSettings], make: Make) -> None:
        """Makes every model. Raises what `make` raises, ConfigError where two have a name in common."""
        self._members = [(one, make(one)) for one in wanted]
        self.catalog = Catalog(model for _, model in self._members)
        _refuse_twins(self._members)
        self._retiring: set[asyncio.Task[None]] = set()
        self.loading: dict[str, str] = {}
        self.loaded = asyncio.Event()

    def reasons(self) -> list[str]:
        """Why a request for some model would not be served."""
        down = (
            f"{model.card.id}: restarting"
            for model in self.catalog.served()
            if not model.engine.ready and model.card.id not in self.loading
        )
        return [*(f"{slug}: {reason}" for slug, reason in self.loading.items()), *down]

    def failures(self) -> list[str]:
        """Why there is nothing to serve: a line for each model, where every one has failed to load."""
        if not self.loaded.is_set() or len(self.loading) < len(self.catalog.served()):
            return []
        return [f"{slug}: {reason}" for slug, reason in self.loading.items()]

    async def start(self) -> None:
        """Start all engines; one that fails leaves the others alone."""
        served = self.catalog.served()
        self.loading.update({model.card.id: "loading" for model in served})
        await asyncio.gather(*(self._start(model) for model in served))
        self.loaded.set()

    async def _start(self, model: ServedModel) -> None:
        try:
            await _start(model)
        except Exception as error:  # the server goes on with its other models and says why
            self.loading[model.card.id] = f"failed: {error}"
            log.error("%s can't be served: %s", model.card.id, error)
        else:
            del self.loading[model.card.id]

    async def close_engines(self) -> None:
        """End every engine; what still runs fails."""
        await asyncio.gather(*(model.engine.close() for model in self.catalog.served()))

    async def close(self) -> None:
        """End everything."""
        retiring = list(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        await asyncio.gather(*(_close(model) for model in self.catalog.served()))

    async def replace(self, wanted: Sequence[ModelSettings], make: Make) -> None:
        """Serve these models instead. Engines whose settings are the same go on; new ones are loaded first, old ones end
        after their last request. Raises what `make` and `Engine.start` raise: nothing has changed then.
        """
        old = {identity(one): model for one, model in self._members if model.card.id not in self.loading}
        members: list[tuple[ModelSettings, ServedModel]] = []
        fresh: list[ServedModel] = []
        try:
            for one in wanted:
                model = await asyncio.to_thread(make, one)
                kept = old.get(identity(one))
                if kept is None:
                    fresh.append(model)
                    await _start(model)
                else:  # the new card may have other aliases
                    await model.engine.close()
                    model = dataclasses.replace(model, engine=kept.engine, grammars=kept.grammars)
                members.append((one, model))
            _refuse_twins(members)
        except BaseException:
            await asyncio.gather(*(_close(model) for model in fresh))
            raise
        self._exchange(members)

    def _exchange(self, members: list[tuple[ModelSettings, ServedModel]]) -> None:
        kept = {id(model.engine) for _, model in members}
        gone = [model for _, model in self._members if id(model.engine) not in kept]
        self._members = members
        self.catalog.replace(model for _, model in members)
        self.loading.clear()
        for model in gone:
            task = asyncio.create_task(_retire(model))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)


def identity(one: ModelSettings) -> str:
    """What makes an engine another engine: everything but names, prices and limits."""
    return one.model_dump_json(exclude={"aliases", "price", "limits"})


def _refuse_twins(members: Sequence[tuple[ModelSettings, ServedModel]]) -> None:
    slugs = [model.card.id for _, model in members]
    twin = next((slug for slug in slugs if slugs.count(slug) > 1), None)
    if twin is not None:
        raise ConfigError(f"models: {twin} is configured twice; give one entry more aliases instead.")
    owners: dict[str, str] = {}
    for _, model in members:
        for alias in model.card.aliases:
            other = owners.setdefault(alias, model.card.id)
            if other != model.card.id:
                raise ConfigError(
                    f"models: {other} and {model.card.id} share the alias {alias!r}; give it to one of them."
                )


async def _start(model: ServedModel) -> None:
    if model.grammars is not None:
        await model.grammars.start()
    await model.engine.start()


async def _close(model: ServedModel) -> None:
    await model.engine.close()
    if model.grammars is not None:
        await model.grammars.close()


async def _retire(model: ServedModel) -> None:
    """End a model that is no longer found, once nobody uses it."""
    try:
        await until_idle(model.engine)
    finally:
        await _close(model)
    log.info("%s is no longer loaded", model.card.id)


async def until_idle(engine: Engine) -> None:
    """Returns once an engine that gets no new requests has ended those it had, and those on their way to it."""
    await asyncio.sleep(GRACE_SECONDS)
    idle = 0
    while idle < _IDLE_READINGS:
        await asyncio.sleep(_POLL_SECONDS)
        idle = 0 if await _busy(engine) else idle + 1


async def _busy(engine: Engine) -> bool:
    """Whether it works for anybody, in this process or in another."""
    if engine.active:
        return True
    stats = await engine.stats()
    return stats.running > 0 or stats.waiting > 0
