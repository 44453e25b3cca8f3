"""The `chatwright` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import chatwright
from chatwright.commands import keys, projects, requests
from chatwright.commands.deploy import deploy
from chatwright.commands.doctor import doctor
from chatwright.commands.options import ConfigOption, HomeOption
from chatwright.commands.tables import print_table
from chatwright.commands.usage import usage
from chatwright.config import ConfigError, Source, load
from chatwright.core.errors import ChatwrightError
from chatwright.models.errors import ModelError
from chatwright.telemetry.logs import set_up_logs

app = typer.Typer(
    help="Chatwright: the Model API that anyone can run.", no_args_is_help=True, add_completion=False
)
models_app = typer.Typer(help="Models on this machine.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(projects.app, name="projects")
app.add_typer(requests.app, name="requests")
app.command()(usage)
app.command()(doctor)
app.command()(deploy)


def main() -> None:
    """Entry point: errors of the user's making are one line and exit status 1."""
    try:
        app()
    except (ConfigError, ModelError, ChatwrightError) as error:
        print(f"chatwright: {getattr(error, 'message', None) or error}", file=sys.stderr)
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(chatwright.__version__)
        raise typer.Exit


@app.callback()
def command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Chatwright: the Model API that anyone can run."""


@app.command()
def serve(
    config: ConfigOption = None,
    home: HomeOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Slug, alias or path of a model to serve; may be repeated.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="API processes that share the engines.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
) -> None:
    """Serve the API; installs the models it needs first."""
    chosen = [{"model": name} for name in model] if model else None
    flags = {"home": home, "host": host, "port": port, "models": chosen, "workers": workers}
    source = Source(config=config, flags=flags | {"log_level": log_level, "log_format": log_format})
    settings = source.read()
    set_up_logs(settings.log_level, settings.log_format)
    from chatwright.server.serving import run  # noqa: PLC0415  the server's imports take half a second

    sys.exit(run(source, settings, Console(stderr=True)))


@models_app.command("list")
def models_list(
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
) -> None:
    """The catalog's models and those pulled from files, with what is on disk."""
    import msgspec  # noqa: PLC0415

    from chatwright.models.installed import list_models  # noqa: PLC0415

    rows = list_models(load(config, home=home).home)
    if as_json:
        print(msgspec.json.encode(rows).decode())
        return
    table = Table("model", "aliases", "on disk", "context", "quantisation", "from", box=None)
    for row in rows:
        size = "no" if not row.installed else row.damage or f"{(row.size or 0) / 1e6:.0f} MB"
        table.add_row(
            row.slug,
            ", ".join(row.aliases),
            size,
            str(row.context_length or ""),
            row.quantisation,
            row.source,
        )
    print_table(table)


@models_app.command("pull")
def models_pull(
    target: Annotated[
        str, typer.Argument(help="Slug or alias, a .gguf file, or a folder with an OpenVINO IR.")
    ],
    slug: Annotated[str | None, typer.Option(help="Name to serve a file or folder under.")] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Install a model of the catalog, or register a file of your own."""
    from chatwright.models.installed import pull  # noqa: PLC0415
    from chatwright.models.progress_bar import ProgressBar  # noqa: PLC0415
    from chatwright.server.assembly import derivations, sources  # noqa: PLC0415

    settings = load(config, home=home)
    progress = ProgressBar(Console(stderr=True))
    installed = pull(
        target, settings.home, progress, derivations("native"), slug=slug, settings=sources(settings)
    )
    print(installed.slug)


@app.command()
def version() -> None:
    """Print the version."""
    print(chatwright.__version__)
