"""Chatwright's own actors on the cluster: the directory, and on each node the files of contexts."""

from __future__ import annotations

import contextlib
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from chatwright.cluster.contexts import ContextFiles
from chatwright.cluster.directory import Directory
from chatwright.core.errors import ContextNotFound, EngineFailed

NAMESPACE = "chatwright"
HEAD_NODE = {"node:__internal_head__": 0.001}
"""A share of the head node, which is lost only with the whole cluster."""


def start_directory(name: str) -> Any:
    """The directory's actor, started if it isn't there; it outlives whoever starts it."""
    actor = ray.remote(Directory).options(
        name=f"{name}-directory",
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_concurrency=10_000,
        num_cpus=0,
        resources=HEAD_NODE,
    )
    return actor.remote()


def find_directory(name: str) -> Any:
    """Its handle. Raises ValueError where there is none."""
    return ray.get_actor(f"{name}-directory", namespace=NAMESPACE)


def start_context_files(name: str, node: str, folder: str) -> Any:
    """The actor of this node's contexts, started if it isn't there."""
    actor = ray.remote(ContextFiles).options(
        name=_context_files(name, node),
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_concurrency=4,
        num_cpus=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
    )
    return actor.remote(folder)


def end_actors(name: str) -> None:
    """All of them, of the deployment called `name`."""
    for one in ray.util.list_named_actors(all_namespaces=True):
        if one["namespace"] == NAMESPACE and one["name"].startswith(
            (f"{name}-directory", f"{name}-contexts-")
        ):
            with contextlib.suppress(ValueError):  # it has ended meanwhile
                ray.kill(ray.get_actor(one["name"], namespace=NAMESPACE))


class ObjectStoreNodes:
    """`contexts.Nodes` by Ray: one node's actor puts a context into the object store, the other's fetches it from there."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._actors: dict[str, Any] = {}

    async def move(self, context_id: int, source: str, target: str) -> None:
        """See `Nodes.move`. The bytes don't come through this process."""
        try:
            exported = self._at(source).export.remote(context_id)
            await self._at(target).take.remote(context_id, exported)
        except RayTaskError as error:
            if isinstance(error.cause, ContextNotFound):
                raise error.cause from None
            raise EngineFailed("A context could not be moved to another node.") from error
        except (RayError, ValueError):  # a node has gone
            raise ContextNotFound("The node that kept the context has gone.") from None

    async def holds(self, context_id: int, node: str) -> bool:
        """See `Nodes.holds`."""
        try:
            return bool(await self._at(node).holds.remote(context_id))
        except (RayError, ValueError):
            return False

    async def discard(self, context_id: int, node: str) -> None:
        """See `Nodes.discard`."""
        with contextlib.suppress(RayError, ValueError):
            await self._at(node).discard.remote(context_id)

    def _at(self, node: str) -> Any:
        """Raises ValueError where there is none."""
        if node not in self._actors:
            self._actors[node] = ray.get_actor(_context_files(self._name, node), namespace=NAMESPACE)
        return self._actors[node]


def _context_files(name: str, node: str) -> str:
    return f"{name}-contexts-{node}"
