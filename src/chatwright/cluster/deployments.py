"""The Ray Serve deployments: a model's replicas, and the API in front of them."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import ray
from ray import serve
from starlette.types import ASGIApp

from chatwright.cluster.actors import ObjectStoreNodes, find_directory, start_context_files
from chatwright.cluster.asgi import UnderServe
from chatwright.cluster.contexts import ClusterContexts
from chatwright.cluster.directory import Place, Reading, ServerAddress
from chatwright.cluster.following import FollowingEngine, FollowingPools, MemberNodes
from chatwright.cluster.plan import PlannedModel, model_key
from chatwright.cluster.replica import ListeningEngines, Replica
from chatwright.cluster.scaling import LoadPolicy, reported
from chatwright.config import Settings
from chatwright.core.engine import Engine
from chatwright.engines.process.options import EngineOptions
from chatwright.engines.replicas.pools import PooledEngine
from chatwright.engines.replicas.replica_set import ReplicaSet
from chatwright.model_config import ModelSettings
from chatwright.models.progress import Silent
from chatwright.server.app import assemble
from chatwright.server.assembly import served_model
from chatwright.server.remote import StartedServers
from chatwright.telemetry.logs import set_up_logs

log = logging.getLogger("chatwright.cluster")

GRACE_SECONDS = 10.0
"""How much longer than `shutdown_seconds` Serve lets a replica live once it is to end."""
SURGE_PERCENT = 25
"""How many more replicas than wanted an update may start at once, in percent, at least one: new ones before old ones end."""
UNHEALTHY_CHECKS = 6
"""Health checks in a row without an engine after which Serve replaces a replica; one that died is back before that."""


class ModelReplica:
    """One replica of one model, as Serve runs it: no request comes through Serve, API processes attach to its engine."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it; the replica has started when it returns
        self, planned: PlannedModel, settings: Settings, name: str, overrides: dict[str, object]
    ) -> None:
        set_up_logs(settings.log_level, settings.log_format)
        self._drain_seconds = settings.shutdown_seconds
        self._bad_checks = 0
        node = ray.get_runtime_context().get_node_id()
        sources = ListeningEngines(ray.util.get_node_ip_address(), node, overrides)
        make = partial(served_model, planned.settings, settings, None, Silent(), shared=sources)
        model = await asyncio.to_thread(make)
        ((listener, place),) = sources.made
        if sources.context_folder is not None:
            self._contexts = start_context_files(name, node, sources.context_folder)
        directory = find_directory(name)
        replica = serve.get_replica_context().replica_id.unique_id

        async def write(where: Place) -> None:
            await directory.register.remote(planned.key, replica, where)

        async def strike() -> None:
            await directory.withdraw.remote(planned.key, replica)

        self._replica = Replica(model.engine, listener, place, write, strike)
        await self._replica.start()
        log.info("replica %s of %s listens at %s", replica, planned.settings.model, place.address)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve collects these for `LoadPolicy`."""
        return reported(await self._replica.stats())

    async def check_health(self) -> None:
        """Raises RuntimeError once the engine process has been away for too long: Serve replaces this replica then."""
        self._bad_checks = 0 if self._replica.ready else self._bad_checks + 1
        if self._bad_checks >= UNHEALTHY_CHECKS:
            raise RuntimeError("the engine process does not come back")

    async def __del__(self) -> None:
        """Serve awaits this when the replica is to end."""
        await self._replica.drain(self._drain_seconds)


class RemoteEngines:
    """An `EngineSource`: engines on other nodes, found by the directory."""

    folder = None

    def __init__(self, name: str) -> None:
        self._directory = find_directory(name)
        self._contexts = ObjectStoreNodes(name)

    def engine(self, options: EngineOptions, one: ModelSettings) -> Engine:
        """See `EngineSource.engine`."""
        key, nodes = model_key(one), MemberNodes()
        contexts = ClusterContexts(self._contexts, nodes.of, nodes.all)
        if one.pools is None:
            return FollowingEngine(key, self._watch, ReplicaSet(contexts=contexts), nodes)
        pools = PooledEngine({}, {}, contexts, serves_contexts=options.handoff_requests)
        return FollowingPools(key, self._watch, pools, nodes)

    def started(self, servers: StartedServers, one: ModelSettings) -> Engine:
        """See `EngineSource.started`."""

        def attach(place: Place) -> Engine:
            assert isinstance(place.address, ServerAddress)
            return servers.engine(place.address.url, place.address.key)

        return FollowingEngine(model_key(one), self._watch, servers.together(), attach=attach)

    async def _watch(self, version: int, seconds: float) -> Reading:
        reading: Reading = await self._directory.watch.remote(version, seconds)
        return reading


class ApiReplica:
    """One API process, as Serve runs it."""

    def __init__(self, settings: Settings, pepper: bytes, name: str) -> None:
        self._settings = settings
        self._pepper = pepper
        self._name = name

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Serve calls this in the replica, then runs the application's lifespan."""
        set_up_logs(self._settings.log_level, self._settings.log_format)
        server = assemble(self._settings, shared=RemoteEngines(self._name), pepper=self._pepper)
        return UnderServe(server.asgi, server)


def model_application(
    planned: PlannedModel, settings: Settings, name: str, overrides: dict[str, object]
) -> Any:
    """A Serve application of this model's replicas."""
    wanted = planned.settings.ray
    actor: dict[str, Any] = {"num_cpus": wanted.cpus, "num_gpus": wanted.gpus}
    if wanted.resources:
        actor["resources"] = wanted.resources
    if wanted.labels:
        actor["label_selector"] = wanted.labels
    fixed = planned.most == planned.least
    scaling = {"num_replicas": planned.least} if fixed else {"autoscaling_config": _scaling(planned)}
    deployment = serve.deployment(ModelReplica).options(
        name="replica",
        ray_actor_options=actor,
        graceful_shutdown_timeout_s=settings.shutdown_seconds + GRACE_SECONDS,
        health_check_period_s=5,
        max_surge_percent=SURGE_PERCENT,
        **scaling,
    )
    return deployment.bind(planned, settings, name, overrides)


def _scaling(planned: PlannedModel) -> dict[str, Any]:
    wanted = planned.settings.ray
    targets = {"target_requests": wanted.target_requests, "target_kv_use": wanted.target_kv_use}
    return {
        "min_replicas": planned.least,
        "max_replicas": planned.most,
        "initial_replicas": planned.least,
        "metrics_interval_s": 1,
        "look_back_period_s": 5,
        "upscale_delay_s": wanted.upscale_seconds,
        "downscale_delay_s": wanted.downscale_seconds,
        "policy": {"policy_function": LoadPolicy, "policy_kwargs": targets},
    }


def api_application(settings: Settings, pepper: bytes, name: str, actor: dict[str, Any]) -> Any:
    """A Serve application of the API, `settings.workers` replicas of it; `actor` says what each takes of which nodes."""
    deployment = serve.deployment(serve.ingress()(ApiReplica)).options(
        name="api",
        num_replicas=settings.workers,
        max_ongoing_requests=100_000,  # our own limits refuse in time
        max_surge_percent=SURGE_PERCENT,
        ray_actor_options=actor,
        graceful_shutdown_timeout_s=settings.shutdown_seconds + GRACE_SECONDS,
    )
    return deployment.bind(settings, pepper, name)
