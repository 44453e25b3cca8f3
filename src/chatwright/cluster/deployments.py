"""The Ray Serve deployments: a model's replicas, and the API in front of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import ray
from ray import serve
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatwright.cluster.directory import Directory, Reading
from chatwright.cluster.following import FollowingEngine, Watch
from chatwright.cluster.plan import PlannedModel, model_key
from chatwright.cluster.replica import ListeningEngines, Replica
from chatwright.cluster.scaling import LoadPolicy, reported
from chatwright.config import Settings
from chatwright.core.engine import Engine
from chatwright.engines.process.options import EngineOptions
from chatwright.engines.process.tcp import TcpAddress
from chatwright.model_config import ModelSettings
from chatwright.models.progress import Silent
from chatwright.server.app import Server, assemble
from chatwright.server.assembly import served_model
from chatwright.telemetry.logs import set_up_logs

log = logging.getLogger("chatwright.cluster")

NAMESPACE = "chatwright"
HEAD_NODE = {"node:__internal_head__": 0.001}
"""A share of the head node, which is lost only with the whole cluster."""
LOADING_SECONDS = 60.0
"""How long a new API replica waits for its models before it takes requests for those it has."""
GRACE_SECONDS = 10.0
"""How much longer than `shutdown_seconds` Serve lets a replica live once it is to end."""
UNHEALTHY_CHECKS = 6
"""Health checks in a row without an engine after which Serve replaces a replica; one that died is back before that."""


def directory_name(name: str) -> str:
    """Of the actor that keeps the directory of this deployment."""
    return f"{name}-directory"


def start_directory(name: str) -> Any:
    """The directory's actor, started if it isn't there; it outlives whoever starts it."""
    actor = ray.remote(Directory).options(
        name=directory_name(name),
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
    return ray.get_actor(directory_name(name), namespace=NAMESPACE)


class ModelReplica:
    """One replica of one model, as Serve runs it: no request comes through Serve, API processes attach to its engine."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it; the replica has started when it returns
        self, planned: PlannedModel, settings: Settings, name: str, overrides: dict[str, object]
    ) -> None:
        set_up_logs(settings.log_level, settings.log_format)
        self._drain_seconds = settings.shutdown_seconds
        self._bad_checks = 0
        sources = ListeningEngines(ray.util.get_node_ip_address(), overrides)
        make = partial(served_model, planned.settings, settings, None, Silent(), shared=sources)
        model = await asyncio.to_thread(make)
        ((listener, address),) = sources.made
        directory = find_directory(name)
        replica = serve.get_replica_context().replica_id.unique_id

        async def write(where: TcpAddress) -> None:
            await directory.register.remote(planned.key, replica, where)

        async def strike() -> None:
            await directory.withdraw.remote(planned.key, replica)

        self._replica = Replica(model.engine, listener, address, write, strike)
        await self._replica.start()
        log.info(
            "replica %s of %s listens on %s:%d", replica, planned.settings.model, address.host, address.port
        )

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

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def engine(self, options: EngineOptions, one: ModelSettings) -> Engine:
        """See `EngineSource.engine`."""
        return FollowingEngine(model_key(one), self._watch)


class ApiReplica:
    """One API process, as Serve runs it."""

    def __init__(self, settings: Settings, pepper: bytes, name: str) -> None:
        self._settings = settings
        self._pepper = pepper
        self._name = name

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Serve calls this in the replica, then runs the application's lifespan."""
        set_up_logs(self._settings.log_level, self._settings.log_format)
        directory = find_directory(self._name)

        async def watch(version: int, seconds: float) -> Reading:
            reading: Reading = await directory.watch.remote(version, seconds)
            return reading

        server = assemble(self._settings, shared=RemoteEngines(watch), pepper=self._pepper)
        return AfterLoading(server)


class AfterLoading:
    """The application, whose start ends once its models are there: a new replica serves at once what the old one did."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._server.asgi(scope, receive, partial(self._send_when_loaded, send))
        else:
            await self._server.asgi(scope, receive, send)

    async def _send_when_loaded(self, send: Callable[[Message], Awaitable[None]], message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            try:
                await asyncio.wait_for(self._server.loaded.wait(), LOADING_SECONDS)
            except TimeoutError:
                log.warning("not every model is there yet: %s", "; ".join(self._server.reasons()))
        await send(message)


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
    most = wanted.max_replicas or wanted.min_replicas
    scaling = (
        {"num_replicas": wanted.min_replicas}
        if most == wanted.min_replicas
        else {"autoscaling_config": _scaling(planned)}
    )
    deployment = serve.deployment(ModelReplica).options(
        name="replica",
        ray_actor_options=actor,
        graceful_shutdown_timeout_s=settings.shutdown_seconds + GRACE_SECONDS,
        health_check_period_s=5,
        **scaling,
    )
    return deployment.bind(planned, settings, name, overrides)


def _scaling(planned: PlannedModel) -> dict[str, Any]:
    wanted = planned.settings.ray
    targets = {"target_requests": wanted.target_requests, "target_kv_use": wanted.target_kv_use}
    return {
        "min_replicas": wanted.min_replicas,
        "max_replicas": wanted.max_replicas,
        "initial_replicas": wanted.min_replicas,
        "metrics_interval_s": 2,
        "look_back_period_s": 10,
        "upscale_delay_s": 5,
        "downscale_delay_s": 120,
        "policy": {"policy_function": LoadPolicy, "policy_kwargs": targets},
    }


def api_application(
    settings: Settings, pepper: bytes, name: str, cpus: float, pinned: dict[str, float]
) -> Any:
    """A Serve application of the API, `settings.workers` replicas of it, on nodes that have the resources `pinned`."""
    actor: dict[str, Any] = {"num_cpus": cpus}
    if pinned:
        actor["resources"] = pinned
    deployment = serve.deployment(serve.ingress()(ApiReplica)).options(
        name="api",
        num_replicas=settings.workers,
        max_ongoing_requests=100_000,  # our own limits refuse in time
        max_surge_percent=25,
        ray_actor_options=actor,
        graceful_shutdown_timeout_s=settings.shutdown_seconds + GRACE_SECONDS,
    )
    return deployment.bind(settings, pepper, name)
