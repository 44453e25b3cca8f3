"""The admin API's part of the OpenAPI document."""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

import msgspec

from chatwright.accounts.usage import UsageGroup
from chatwright.api.admin import objects, requests, usage
from chatwright.api.admin.routes import PREFIX

_REF = "#/components/schemas/{name}"

TYPES: tuple[type[msgspec.Struct], ...] = (
    objects.CreateKey, objects.ChangeKey, objects.RotateKey, objects.CreateProject, objects.ChangeProject,
    objects.SetBudget, objects.KeyObject, objects.IssuedKeyObject, objects.KeyList, objects.ProjectObject,
    objects.ProjectList, objects.BudgetObject, objects.BudgetList, objects.Deleted, objects.UsageList,
    objects.ReloadReport, objects.ForgottenContents, requests.ContentObject, requests.RequestObject, requests.RequestList,
)  # fmt: skip


class _Operation(NamedTuple):
    method: str
    path: str
    id: str
    summary: str
    answer: type[msgspec.Struct]
    body: type[msgspec.Struct] | None = None
    query: tuple[str, ...] = ()
    status: str = "200"


_OPERATIONS = (
    _Operation("get", "/keys", "listKeys", "All keys, or a project's.", objects.KeyList, query=("project",)),
    _Operation(
        "post",
        "/keys",
        "createKey",
        "Make a key; its secret is shown once.",
        objects.IssuedKeyObject,
        objects.CreateKey,
        status="201",
    ),
    _Operation("get", "/keys/{key_id}", "getKey", "One key.", objects.KeyObject),
    _Operation("patch", "/keys/{key_id}", "changeKey", "Change a key.", objects.KeyObject, objects.ChangeKey),
    _Operation("delete", "/keys/{key_id}", "revokeKey", "End a key for good.", objects.KeyObject),
    _Operation(
        "post",
        "/keys/{key_id}/rotate",
        "rotateKey",
        "Give a key a new secret.",
        objects.IssuedKeyObject,
        objects.RotateKey,
    ),
    _Operation("get", "/projects", "listProjects", "All projects.", objects.ProjectList),
    _Operation(
        "post",
        "/projects",
        "createProject",
        "Make a project.",
        objects.ProjectObject,
        objects.CreateProject,
        status="201",
    ),
    _Operation(
        "get", "/projects/{project}", "getProject", "One project, by id or name.", objects.ProjectObject
    ),
    _Operation(
        "patch",
        "/projects/{project}",
        "changeProject",
        "Change a project.",
        objects.ProjectObject,
        objects.ChangeProject,
    ),
    _Operation(
        "delete",
        "/projects/{project}/contents",
        "forgetContents",
        "Delete all prompts and answers that are kept of a project.",
        objects.ForgottenContents,
    ),
    _Operation("get", "/budgets", "listBudgets", "All budgets and what they have spent.", objects.BudgetList),
    _Operation(
        "put", "/budgets", "setBudget", "Make or replace a budget.", objects.BudgetObject, objects.SetBudget
    ),
    _Operation("delete", "/budgets/{budget_id}", "removeBudget", "Forget a budget.", objects.Deleted),
    _Operation(
        "get",
        "/usage",
        "readUsage",
        "Sums over the ledger.",
        objects.UsageList,
        query=usage.PARAMETERS,
    ),
    _Operation(
        "get",
        "/requests",
        "listRequests",
        "Rows of the ledger, newest first.",
        requests.RequestList,
        query=requests.PARAMETERS,
    ),
    _Operation("get", "/requests/{entry_id}", "getRequest", "One row of the ledger.", requests.RequestObject),
    _Operation(
        "get",
        "/requests/{entry_id}/content",
        "getContent",
        "Prompt and answer, where the project wants them kept.",
        requests.ContentObject,
    ),
    _Operation(
        "delete",
        "/requests/{entry_id}/content",
        "forgetContent",
        "Delete prompt and answer; the row stays.",
        objects.Deleted,
    ),
    _Operation("post", "/reload", "reload", "Read the configuration again.", objects.ReloadReport),
)

_QUERY: dict[str, dict[str, Any]] = {
    "by": {"type": "string", "enum": list(get_args(UsageGroup)), "default": "key"},
    "since": {"type": "string", "description": "Unix seconds, or a date or time in ISO 8601 (UTC)."},
    "until": {"type": "string", "description": "Like `since`; not included."},
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": requests.DEFAULT_LIMIT},
    "before": {"type": "string", "description": "`next_before` of the page before."},
    "format": {"type": "string", "enum": ["json", "csv"], "default": "json"},
}


def schemas() -> dict[str, Any]:
    """The schemas of what is sent and taken."""
    _, found = msgspec.json.schema_components(TYPES, ref_template=_REF)
    return found


def paths(errors: dict[str, Any], headers: dict[str, Any]) -> dict[str, Any]:
    """The path items; `errors` are the responses that every operation has besides its own."""
    found: dict[str, Any] = {}
    for operation in _OPERATIONS:
        found.setdefault(PREFIX + operation.path, {})[operation.method] = _item(operation, errors, headers)
    return found


def _item(operation: _Operation, errors: dict[str, Any], headers: dict[str, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {
        "description": operation.summary,
        "headers": headers,
        "content": _content(operation.answer),
    }
    if "format" in operation.query:
        success["content"]["text/csv"] = {"schema": {"type": "string"}}
    item: dict[str, Any] = {
        "operationId": operation.id,
        "tags": ["admin"],
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": {operation.status: success, **errors},
    }
    if operation.body is not None:
        item["requestBody"] = {"required": True, "content": _content(operation.body)}
    return item


def _content(type_: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(name=type_.__name__)}}}


def _parameters(operation: _Operation) -> list[dict[str, Any]]:
    text = {"type": "string"}
    in_path = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    return [
        *({"name": name, "in": "path", "required": True, "schema": text} for name in in_path),
        *({"name": name, "in": "query", "schema": _QUERY.get(name, text)} for name in operation.query),
    ]
