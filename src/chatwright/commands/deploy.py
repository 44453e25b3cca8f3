"""`chatwright deploy`: the same configuration on a Ray cluster."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from chatwright.commands.options import ConfigOption, HomeOption
from chatwright.config import ConfigError, load
from chatwright.telemetry.logs import set_up_logs


def deploy(
    address: Annotated[
        str,
        typer.Option(help="The cluster: auto (this machine's), HOST:PORT of its head, or ray://HOST:PORT."),
    ] = "auto",
    config: ConfigOption = None,
    home: HomeOption = None,
    name: Annotated[str, typer.Option(help="Name of this deployment on the cluster.")] = "chatwright",
    api_replicas: Annotated[
        int | None, typer.Option(min=1, help="API processes; default: `workers` of the configuration.")
    ] = None,
    api_cpus: Annotated[float, typer.Option(min=0, help="CPUs reserved for each API process.")] = 1.0,
    api_label: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE: a label of the nodes that may hold an API process; may be repeated."),
    ] = None,
    head_only: Annotated[
        bool, typer.Option(help="Listen on the head node only, instead of every node that has a replica.")
    ] = False,
    wait: Annotated[float, typer.Option(help="Seconds until everything must have started.")] = 1800.0,
    down: Annotated[bool, typer.Option("--down", help="Take the deployment down instead.")] = False,
) -> None:
    """Run the API and its models on a Ray cluster. Again: exchange what has changed, without a cut answer."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("Ray isn't installed here: pip install 'chatwright[ray]'")
    settings = load(config, home=home)
    set_up_logs(settings.log_level, settings.log_format)
    from chatwright.cluster.deploy import Target, take_down  # noqa: PLC0415  only where there is Ray
    from chatwright.cluster.deploy import deploy as put  # noqa: PLC0415

    target = Target(
        address,
        name=name,
        api_replicas=api_replicas or settings.workers,
        api_cpus=api_cpus,
        api_labels=_labels(api_label or []),
        proxies="HeadOnly" if head_only else "EveryNode",
        wait_seconds=wait,
    )
    if down:
        print(f"{name} is down" if take_down(target) else f"there is no {name} on this cluster")
        return
    deployed = put(settings, target)
    for state, models in (("started", deployed.started), ("unchanged", deployed.kept)):
        if models:
            print(f"{state}: {', '.join(models)}")
    if deployed.key:
        print(f"Your API key, shown only now:  {deployed.key}")
    print(f"Chatwright listens on {', '.join(deployed.urls)}")


def _labels(texts: list[str]) -> dict[str, str]:
    """Raises ConfigError where one is no KEY=VALUE."""
    for text in texts:
        if "=" not in text.strip("="):
            raise ConfigError(f"--api-label {text!r}: write KEY=VALUE")
    return dict(text.split("=", 1) for text in texts)
