from __future__ import annotations

import csv
import io

import jsonschema
import pytest
from openapi_spec_validator import validate

from chatwright.accounts.ledger import Ledger, Opening
from chatwright.api.auth import OPEN_PATHS
from chatwright.core.errors import InvalidRequest
from chatwright.core.usage import Usage


def filled(path: str) -> str:
    for name, value in {
        "slug:path": "a/b",
        "key_id": "key_1",
        "project": "p",
        "budget_id": "b",
        "entry_id": "e",
    }.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path
    return path


async def test_every_route_but_the_open_ones_needs_a_key_of_its_scope(
    admin_application, connect, secret
) -> None:
    clients = {scope: await connect(secret(scope)) for scope in ("inference", "admin")}
    anonymous = await connect("cw-0000000000-nothing")
    seen = set()
    for route in admin_application.routes:
        for method in route.methods:
            path = filled(route.path)
            seen.add(path)
            answers = {
                name: (await client.request(method, path)).status_code for name, client in clients.items()
            }
            unknown = (await anonymous.request(method, path)).status_code
            if path in OPEN_PATHS:
                assert unknown == 200
            else:
                assert unknown == 401, path
                foreign = "inference" if path.startswith("/admin/") else "admin"
                assert answers[foreign] == 403, (method, path)
                assert answers["admin" if foreign == "inference" else "inference"] != 403, (method, path)
    assert seen >= {"/v1/chat/completions", "/admin/v1/keys", "/admin/v1/reload"}


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "health"},
        {"host": "a/health?"},
        {"x-forwarded-prefix": "/health"},
        {"x-original-url": "/health"},
        {"x-rewrite-url": "/health"},
        {"x-forwarded-host": "localhost", "x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1"},
        {"x-http-method-override": "GET"},
    ],
)
async def test_headers_never_change_what_is_asked_for(connect, headers) -> None:
    client = await connect("cw-0000000000-nothing")
    for path in ("/admin/v1/keys", "/v1/models"):
        assert (await client.get(path, headers=headers)).status_code == 401


async def test_a_key_lives_and_ends(admin, connect) -> None:
    body = {
        "name": "app",
        "scopes": ["inference"],
        "models": ["a"],
        "limits": {"requests_per_minute": 7},
        "service_tiers": ["flex"],
        "expires_at": 4_000_000_000,
    }
    made = await admin.post("/admin/v1/keys", json=body)
    assert made.status_code == 201
    key = made.json()
    assert key["limits"] == {"requests_per_minute": 7, "tokens_per_minute": None, "concurrent_requests": None}
    assert (key["expires_at"], key["models"], key["object"]) == (4_000_000_000, ["a"], "api_key")
    client = await connect(key["key"])
    assert (await client.get("/v1/models")).status_code == 200

    path = f"/admin/v1/keys/{key['id']}"
    shown = (await admin.get(path)).json()
    assert "key" not in shown
    assert key["key"] not in (await admin.get("/admin/v1/keys")).text

    changed = (await admin.patch(path, json={"models": None, "name": "b"})).json()
    assert (changed["models"], changed["name"], changed["expires_at"]) == (None, "b", 4_000_000_000)
    rotated = (await admin.post(f"{path}/rotate", json={"overlap_seconds": 60})).json()
    assert len(rotated["prefixes"]) == 2
    assert (await client.get("/v1/models")).status_code == 200
    assert (await (await connect(rotated["key"])).get("/v1/models")).status_code == 200
    bare = await admin.post(f"{path}/rotate")
    assert (bare.status_code, len(bare.json()["prefixes"])) == (200, 1), "no body is no overlap"
    assert (await admin.delete(path)).json()["revoked_at"] is not None
    assert (await client.get("/v1/models")).status_code == 401
    assert (await admin.post(f"{path}/rotate", json={})).status_code == 400
    assert (await admin.get("/admin/v1/keys/none")).status_code == 404


async def test_projects_group_keys(admin) -> None:
    project = (await admin.post("/admin/v1/projects", json={"name": "team", "weight": 3})).json()
    await admin.post("/admin/v1/keys", json={"name": "in", "project": "team"})
    await admin.post("/admin/v1/keys", json={"name": "out"})
    listed = (await admin.get("/admin/v1/keys?project=team")).json()["data"]
    assert [key["name"] for key in listed] == ["in"]
    path = f"/admin/v1/projects/{project['id']}"
    changed = (await admin.patch(path, json={"limits": {"tokens_per_minute": 5}})).json()
    assert changed["limits"]["tokens_per_minute"] == 5
    assert (await admin.get("/admin/v1/projects/team")).json() == changed
    assert len((await admin.get("/admin/v1/projects")).json()["data"]) == 2
    again = await admin.post("/admin/v1/projects", json={"name": "team"})
    assert (again.status_code, again.json()["error"]["param"]) == (400, "name")


async def test_budgets_are_set_listed_and_removed(admin) -> None:
    key = (await admin.post("/admin/v1/keys", json={"name": "a"})).json()["id"]
    body = {"key_id": key, "period": "month", "amount": "12.50", "enforced": False}
    made = (await admin.put("/admin/v1/budgets", json=body)).json()
    assert (made["amount"], made["enforced"], made["subject_id"]) == ("12.5", False, key)
    (listed,) = (await admin.get("/admin/v1/budgets")).json()["data"]
    assert listed["spent"] == "0"
    assert listed["period_start"] < listed["period_end"]
    assert (await admin.delete(f"/admin/v1/budgets/{made['id']}")).json()["deleted"] is True
    assert (await admin.delete(f"/admin/v1/budgets/{made['id']}")).status_code == 404
    for wrong in (
        {"amount": "1"},
        {"amount": "1", "period": "day"},
        {"amount": "1", "period": "day", "key_id": key, "project_id": "default"},
        {"amount": 1, "period": "day", "key_id": key},
        {"amount": "-1", "period": "day", "key_id": key},
        {"amount": "1", "period": "week", "key_id": key},
        {"amount": "1", "period": "day", "key_id": key, "webhook_url": "https://a.example/"},
    ):
        assert (await admin.put("/admin/v1/budgets", json=wrong)).status_code == 400, wrong


async def test_usage_is_the_sum_of_the_ledger(admin, admin_store) -> None:
    ledger = Ledger(admin_store)
    ledger.start()
    for key in ("key_a", "key_b"):
        ledger.open(Opening("r", key, "default", "m")).close("finished", Usage(5, 2), 10**12)
    ledger.close()
    usage = (await admin.get("/admin/v1/usage?by=model")).json()
    assert [(row["group"], row["requests"], row["cost"]) for row in usage["data"]] == [("m", 2, "2")]
    by_key = (await admin.get("/admin/v1/usage?key_id=key_b&since=2020-01-01")).json()
    assert [row["group"] for row in by_key["data"]] == ["key_b"]
    for query, found in (("service_tier=default", 2), ("service_tier=flex", 0), ("user=ann", 0)):
        rows = (await admin.get(f"/admin/v1/usage?by=model&{query}")).json()["data"]
        assert sum(row["requests"] for row in rows) == found, query
    assert (await admin.get("/admin/v1/usage?until=0")).json()["data"] == []
    text = await admin.get("/admin/v1/usage?by=day&format=csv")
    assert text.headers["content-type"].startswith("text/csv")
    assert len(list(csv.reader(io.StringIO(text.text)))) == 2
    for query in (
        "by=colour",
        "since=soon",
        "format=xml",
        "until=" + "9" * 30,
        "colour=red",
        "by=key&by=day",
    ):
        assert (await admin.get(f"/admin/v1/usage?{query}")).status_code == 400, query


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "name"),
        ({"name": 5}, "invalid_type", "name"),
        ({"name": "a", "colour": 1}, "unknown_parameter", "colour"),
        ({"name": "a", "limits": {"rpm": 1}}, "unknown_parameter", "limits.rpm"),
        ({"name": "a", "limits": {"tokens_per_minute": -1}}, "invalid_value", "tokens_per_minute"),
        ({"name": "a", "scopes": []}, "invalid_value", "scopes"),
        ({"name": "a", "service_tiers": ["scale"]}, "invalid_value", "service_tiers"),
        ({"name": "a", "expires_at": 10**30}, "invalid_value", "expires_at"),
        ({"name": "a", "expires_at": 10**15}, "invalid_value", "expires_at"),
        ({"name": "a\0"}, "invalid_value", "name"),
        ({"name": "a", "project": "none"}, "not_found", None),
    ],
)
async def test_what_is_wrong_is_named(admin, body, code, param) -> None:
    error = (await admin.post("/admin/v1/keys", json=body)).json()["error"]
    assert (error["code"], error["param"]) == (code, param), error


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"name":"' + b"a" * 70_000 + b'"}'])
async def test_bodies_that_are_no_object_or_too_large_are_refused(admin, content) -> None:
    assert (await admin.post("/admin/v1/keys", content=content)).status_code in (400, 413)


async def test_reload_tells_what_changed_or_why_it_did_not(admin, reloader) -> None:
    assert (await admin.post("/admin/v1/reload")).json()["changes"] == ["log_level: info -> debug"]
    reloader.refusal = InvalidRequest("port: no number")
    refused = await admin.post("/admin/v1/reload")
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "port: no number")


async def test_the_document_describes_every_route_and_answer(admin, admin_application) -> None:
    document = (await admin.get("/openapi.json")).json()
    validate(document)
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    served = {
        (route.path.replace(":path", ""), method)
        for route in admin_application.routes
        for method in route.methods - {"HEAD"}
    }
    assert described == served

    def check(name: str, value: object) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(value)

    check("IssuedKeyObject", (await admin.post("/admin/v1/keys", json={"name": "a"})).json())
    check("KeyList", (await admin.get("/admin/v1/keys")).json())
    check("ProjectList", (await admin.get("/admin/v1/projects")).json())
    body = {"project_id": "default", "period": "day", "amount": "1"}
    check("BudgetObject", (await admin.put("/admin/v1/budgets", json=body)).json())
    check("BudgetList", (await admin.get("/admin/v1/budgets")).json())
    check("UsageList", (await admin.get("/admin/v1/usage")).json())
    check("ReloadReport", (await admin.post("/admin/v1/reload")).json())
