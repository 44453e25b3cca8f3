"""`chatwright deploy`: put the API and its models on a Ray cluster, exchange what has changed, take them down."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import ray
from ray import serve

from chatwright.accounts.keys import Keys
from chatwright.cluster.actors import NAMESPACE, end_actors, start_directory
from chatwright.cluster.deployments import api_application, model_application
from chatwright.cluster.plan import PlannedModel, cluster_settings, planned_models
from chatwright.config import ConfigError, Settings
from chatwright.core.errors import EngineFailed
from chatwright.server.app import first_key, open_store
from chatwright.server.books import refuse_unshared_limits

log = logging.getLogger("chatwright.cluster")

POLL_SECONDS = 0.5


class Target(msgspec.Struct, frozen=True):
    """Where to deploy, and how. `overrides` are fields of EngineOptions, for measurements with simulated engines."""

    address: str
    name: str = "chatwright"
    api_replicas: int = 1
    api_cpus: float = 1.0
    api_labels: dict[str, str] = {}
    proxies: str = "EveryNode"
    wait_seconds: float = 1800.0
    overrides: dict[str, object] = {}


class Deployed(msgspec.Struct, frozen=True):
    """What is there now: where it listens, the first key if one was made, models started and left as they were."""

    urls: tuple[str, ...]
    key: str | None
    started: tuple[str, ...]
    kept: tuple[str, ...]


def deploy(settings: Settings, target: Target) -> Deployed:
    """Start what isn't there, then exchange the API replicas one by one, then let models go that are no longer wanted.
    Raises ConfigError for what can't be deployed, EngineFailed where something doesn't start in time: the old goes on.
    """
    shared = cluster_settings(settings, target.api_replicas)
    pinned = _connect(shared, target)
    _start_serve(settings, target)
    key, pepper = _open_books(settings, shared)
    directory = start_directory(target.name)
    planned = planned_models(shared, target.name, target.overrides)
    running, noted = _applications(target.name), ray.get(directory.noted.remote())
    fresh = [one for one in planned if running.get(one.app) != "RUNNING" or noted.get(one.app) != one.digest]
    try:
        _run_models(fresh, shared, target)
        _run_api(shared, pepper, target, pinned)
    except EngineFailed:
        for one in fresh:
            if one.app not in running:
                serve.delete(one.app, _blocking=False)
        raise
    for one in fresh:
        ray.get(directory.note.remote(one.app, one.digest))
    wanted = {one.app for one in planned} | {f"{target.name}-api"}
    for app in running.keys() - wanted:
        serve.delete(app, _blocking=False)
    kept = tuple(one.settings.model for one in planned if one not in fresh)
    return Deployed(tuple(_urls(settings)), key, tuple(one.settings.model for one in fresh), kept)


def take_down(target: Target) -> bool:
    """End everything of this name, running answers first; whether there was anything. Ends Serve too if nobody else uses it."""
    ray.init(address=target.address, namespace=NAMESPACE, log_to_driver=False, logging_level="error")
    apps = _applications(target.name)
    for app in sorted(apps):  # the API comes first: "-api" < "-model-"
        serve.delete(app, _blocking=True)
    end_actors(target.name)
    if apps and not serve.status().applications:
        serve.shutdown()
    return bool(apps)


def _connect(settings: Settings, target: Target) -> dict[str, float]:
    """Join the cluster; returns the resources that API replicas are pinned to: without a database that all nodes reach, they
    stay on this machine. Raises ConfigError where that can't be.
    """
    if settings.database_url is None and target.address.startswith("ray://"):
        raise ConfigError(
            "database_url is missing: from outside the cluster (ray://) there is no machine whose SQLite file all could use"
        )
    environment = _serve_environment(settings)
    os.environ.update(environment)
    try:
        ray.init(
            address=target.address,
            namespace=NAMESPACE,
            runtime_env={"env_vars": environment},
            log_to_driver=False,
            logging_level="error",
        )
    except (ConnectionError, ValueError) as error:
        raise ConfigError(f"There is no Ray cluster at {target.address}: {error}") from None
    return {} if settings.database_url else {f"node:{ray.util.get_node_ip_address()}": 0.001}


def _serve_environment(settings: Settings) -> dict[str, str]:
    """Ray Serve's switches, where whoever deploys has not set them: HAProxy in front, replicas that speak HTTP themselves.

    Serve's own proxy passes each piece of a stream on as an object of Ray, at milliseconds apiece. HAProxy's old processes
    must outlive the longest answer after a change of replicas, and let idle connections go before the replicas they know of
    do; a request that met a closing connection, so that nothing came back, is sent again, if it fits into the buffer.
    """
    wanted = {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
        "RAY_SERVE_HAPROXY_CLOSE_SPREAD_TIME_S": "4",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(max(3600, settings.shutdown_seconds)),
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "65536",
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    }
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def _start_serve(settings: Settings, target: Target) -> None:
    """Start Serve if it isn't running. Its listeners can't be changed while it runs."""
    host = settings.host if "host" in settings.model_fields_set else "0.0.0.0"  # noqa: S104  nodes reach one another
    serve.start(
        proxy_location=target.proxies,
        http_options={"host": host, "port": settings.port},
        controller_options={"runtime_env": {"env_vars": _serve_environment(settings)}},
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )


def _open_books(settings: Settings, shared: Settings) -> tuple[str | None, bytes]:
    """The first key, where the database has none yet, and the pepper. Raises ConfigError for limits that can't be kept."""
    store, pepper = open_store(settings)
    try:
        refuse_unshared_limits(store, shared)
        return (None if settings.api_keys else first_key(Keys(store, pepper))), pepper
    finally:
        store.close()


def _applications(name: str) -> dict[str, str]:
    """Status by name of the Serve applications that are ours."""
    ours = (f"{name}-api", f"{name}-model-")
    return {
        app: str(details.status.value)
        for app, details in serve.status().applications.items()
        if app == ours[0] or app.startswith(ours[1])
    }


def _run_models(fresh: list[PlannedModel], settings: Settings, target: Target) -> None:
    for one in fresh:
        _begin(model_application(one, settings, target.name, target.overrides), one.app, None)
    for one in fresh:
        _wait(one.app, target)


def _run_api(settings: Settings, pepper: bytes, target: Target, pinned: dict[str, float]) -> None:
    actor: dict[str, Any] = {"num_cpus": target.api_cpus}
    if pinned:
        actor["resources"] = pinned
    if target.api_labels:
        actor["label_selector"] = target.api_labels
    app = f"{target.name}-api"
    _begin(api_application(settings, pepper, target.name, actor), app, "/")
    _wait(app, target)


def _begin(application: Any, app: str, route: str | None) -> None:
    serve.run_many(
        [serve.RunTarget(application, name=app, route_prefix=route)],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )


def _wait(app: str, target: Target) -> None:
    """Until all of its replicas run. Raises EngineFailed with Serve's reason."""
    deadline = time.monotonic() + target.wait_seconds
    while True:
        details = serve.status().applications.get(app)
        status = "NOT_STARTED" if details is None else details.status.value
        if status == "RUNNING":
            return
        reason = "" if details is None else _reason(details)
        if status in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise EngineFailed(f"{app} does not start: {reason}")
        if time.monotonic() > deadline:
            raise EngineFailed(f"{app} has not started within {target.wait_seconds:g} s: {reason or status}")
        time.sleep(POLL_SECONDS)


def _reason(details: Any) -> str:
    """The last words of what Serve says about an application and its deployments."""
    texts = [details.message, *(deployment.message for deployment in details.deployments.values())]
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _urls(settings: Settings) -> Iterator[str]:
    """Where the proxies listen."""
    proxies = serve.status().proxies
    for node in ray.nodes():
        if node["NodeID"] in proxies:
            yield f"http://{node['NodeManagerAddress']}:{settings.port}"
