"""What the ledger keeps of requests that came over HTTP, as operators read it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import httpx
import pytest

from chatwright.accounts.projects import ProjectChanges, Projects

pytestmark = pytest.mark.slow

LABELS = {"team": "search", "note": 'a "b"\n\0é'}


def cli(site, *arguments: str) -> Any:
    command = [sys.executable, "-m", "chatwright", *arguments, "--home", str(site.home), "--json"]
    return json.loads(subprocess.check_output(command))


@pytest.mark.proves("metadata")
def test_metadata_reaches_the_ledger_and_is_read_back(site, ask) -> None:
    site.write()
    site.start()
    issued, admin = site.key(), site.key("admin").secret
    with site.client(issued.secret) as client:
        for labels in (LABELS, {}, None):
            body = ask(max_tokens=2, user="ann") | ({} if labels is None else {"metadata": labels})
            assert client.post("/v1/chat/completions", json=body).status_code == 200
        too_long = ask(metadata={"k": "v" * 513})
        assert client.post("/v1/chat/completions", json=too_long).status_code == 400
        refused = client.get("/admin/v1/requests")
        assert refused.status_code == 403
    with site.client(admin) as client:
        page = client.get("/admin/v1/requests?limit=2").json()
        rest = client.get(f"/admin/v1/requests?limit=2&before={page['next_before']}").json()
        rows = page["data"] + rest["data"]
        assert [row["metadata"] for row in rows] == [{}, {}, LABELS]
        assert rest["next_before"] is None
        assert client.get(f"/admin/v1/requests/{rows[2]['id']}").json() == rows[2]
        for query in ("key_id=none", "user=bob", "until=0", "model=m%00", "request_id=x"):
            assert client.get(f"/admin/v1/requests?{query}").json()["data"] == [], query
        for query in ("limit=0", "limit=many", "limit=1001", "colour=red", "since=soon"):
            assert client.get(f"/admin/v1/requests?{query}").status_code == 400, query
        for unknown in ("0", "%00", "a%20b"):
            assert client.get(f"/admin/v1/requests/{unknown}").status_code == 404, unknown
    listed = cli(site, "requests", "list", "--user", "ann", "--key", issued.key.id)
    assert [row["metadata"] for row in listed] == [{}, {}, LABELS]
    assert {row["output_tokens"] for row in listed} == {2}


CANARY, REPLY = "canary-7f3a", "reply-19cc"


def files(site) -> bytes:
    """The database with its journal, and the log."""
    parts = [path.read_bytes() for path in site.home.glob("chatwright.db*")]
    return b"".join([*parts, site.log.read_bytes()])


def test_prompts_are_kept_only_where_the_project_wants_it(site, ask) -> None:
    site.write(site.scripted(f"{REPLY} said", interval_ms=1), log_level="debug")
    site.start()
    issued, admin = site.key(project="default"), site.key("admin").secret
    question = ask() | {"messages": [{"role": "user", "content": CANARY}]}
    with site.client(issued.secret) as client:
        assert client.post("/v1/chat/completions", json=question).status_code == 200
        assert client.post("/v1/chat/completions", json=question | {"stream": True}).status_code == 200
        assert CANARY.encode() not in files(site)
        assert REPLY.encode() not in files(site)
        Projects(site.store).update("default", ProjectChanges(store_prompts=True))
        assert client.post("/v1/chat/completions", json=question).status_code == 200
        broken_off(client, question)
        Projects(site.store).update("default", ProjectChanges(store_prompts=False))
        assert client.post("/v1/chat/completions", json=question).status_code == 200
    with site.client(admin) as client:
        rows = client.get("/admin/v1/requests").json()["data"]
        assert [row["stored"] for row in rows] == [False, True, True, False, False]
        kept = client.get(f"/admin/v1/requests/{rows[2]['id']}/content").json()
        assert CANARY in kept["prompt"]
        assert (kept["answer"], kept["truncated"]) == (f"{REPLY} said", False)
        assert kept["expires_at"] - kept["created_at"] == 30 * 86_400
        cut = client.get(f"/admin/v1/requests/{rows[1]['id']}/content").json()
        assert cut["answer"]
        assert f"{REPLY} said".startswith(cut["answer"])
        assert client.get(f"/admin/v1/requests/{rows[0]['id']}/content").status_code == 404
        assert client.delete(f"/admin/v1/requests/{rows[1]['id']}/content").json()["deleted"] is True
        assert client.delete(f"/admin/v1/requests/{rows[1]['id']}/content").status_code == 404
    show = [sys.executable, "-m", "chatwright", "requests", "show", rows[2]["id"], "--home", str(site.home)]
    assert CANARY in json.loads(subprocess.check_output(show))["content"]["prompt"]
    with site.client(admin) as client:
        assert client.delete("/admin/v1/projects/default/contents").json()["requests"] == 1
    site.stop()
    assert CANARY not in site.log.read_text()
    site.store.close()
    assert CANARY.encode() not in files(site)


def broken_off(client: httpx.Client, question: dict[str, Any]) -> None:
    """Hang up after the first words."""
    with client.stream("POST", "/v1/chat/completions", json=question | {"stream": True}) as got:
        for line in got.iter_lines():
            if REPLY[:3] in line:
                return
