"""What the ledger keeps of requests that came over HTTP, as operators read it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.slow

LABELS = {"team": "search", "note": 'a "b"\n\0é'}


def cli(site, *arguments: str) -> Any:
    command = [sys.executable, "-m", "chatwright", *arguments, "--home", str(site.home), "--json"]
    return json.loads(subprocess.check_output(command))


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
