"""`chatwright doctor`: what an OpenAI-compatible server, ours or another, keeps of the contract."""

from __future__ import annotations

import datetime
import json
import sys
from typing import Annotated

import httpx
import typer

import chatwright


def doctor(
    base_url: Annotated[str, typer.Argument(help="Where the server is, with or without /v1.")],
    model: Annotated[str, typer.Option(help="The model to ask; must answer in text.")],
    key: Annotated[str | None, typer.Option(envvar="CHATWRIGHT_API_KEY", help="An API key of it.")] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Only topics whose name has this in it; may be repeated.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="List the checks that hold, too.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each answer.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check a server against the contract from outside; exit status 1 if something fails.

    Some checks mean harm (the last topic): don't point it at a server that others use.
    """
    from chatwright.doctor import report  # noqa: PLC0415
    from chatwright.doctor.catalogue import topics  # noqa: PLC0415
    from chatwright.doctor.client import Client  # noqa: PLC0415
    from chatwright.doctor.run import Result, examine  # noqa: PLC0415

    wanted = [one for one in topics() if not topic or any(word.lower() in one.name.lower() for word in topic)]
    if not wanted:
        raise typer.BadParameter(
            f"no topic has such a name; there are: {', '.join(t.name for t in topics())}"
        )
    client = Client(base_url, key, model, timeout)
    try:
        plain = client.post(max_tokens=1)
    except httpx.HTTPError as error:
        print(f"chatwright: {client.url} doesn't answer: {error}", file=sys.stderr)
        sys.exit(1)
    if plain.status_code in (401, 403, 404):  # every refusal would seem to hold
        client.close()
        why = f"{client.url} answered {plain.status_code} to a plain request for {model}: {plain.text[:200]}"
        print(f"chatwright: {why}", file=sys.stderr)
        sys.exit(1)
    found: list[Result] = []
    for one in wanted:
        results = list(examine(client, [one]))
        found += results
        if not as_json:
            print("\n".join(report.lines(results, everything=everything)), flush=True)
    client.close()
    if as_json:
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        about = {"server": client.url, "model": model, "date": today, "doctor": chatwright.__version__}
        print(json.dumps({**about, "results": report.as_values(found)}, ensure_ascii=False, indent=1))
    else:
        print(report.summary(found))
    sys.exit(any(result.verdict == "fails" for result in found))
