import json

import pytest

from chatwright.api.errors import TABLE, body_of, response_of, status_of
from chatwright.core import errors

EXPECTED = {
    "invalid_json": 400,
    "unknown_parameter": 400,
    "invalid_type": 400,
    "invalid_value": 400,
    "missing_required_parameter": 400,
    "unsupported_parameter": 400,
    "invalid_chat_template": 400,
    "invalid_json_schema": 400,
    "invalid_grammar": 400,
    "schema_not_satisfied": 400,
    "invalid_image": 400,
    "context_length_exceeded": 400,
    "context_not_found": 400,
    "invalid_api_key": 401,
    "budget_exceeded": 402,
    "permission_denied": 403,
    "model_not_found": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_too_large": 413,
    "rate_limit_exceeded": 429,
    "overloaded": 503,
    "engine_failed": 500,
    "timeout": 504,
    "internal_error": 500,
}


def every_class(root=errors.ChatwrightError):
    return [root, *(below for sub in root.__subclasses__() for below in every_class(sub))]


def test_table_is_total():
    abstract = {errors.ChatwrightError, errors.ClientError, errors.ServerError}
    for cls in set(every_class()) - abstract:
        assert any(ancestor in TABLE for ancestor in cls.__mro__), cls


def test_each_code_has_its_status():
    for code, cls in errors.BY_CODE.items():
        row = status_of(cls("x"))
        assert row.status == EXPECTED[code], code
        assert (row.status >= 500) == issubclass(cls, errors.ServerError), code
        assert (row.type == "server_error") == issubclass(cls, errors.ServerError), code


def test_body_is_the_nested_object_of_openai():
    body = json.loads(body_of(errors.InvalidValue("bad", param="messages.[2].content")))
    assert body == {
        "error": {
            "message": "bad",
            "type": "invalid_request_error",
            "param": "messages.[2].content",
            "code": "invalid_value",
        }
    }


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (errors.InvalidApiKey("x"), {"www-authenticate": "Bearer"}),
        (errors.RateLimited("x", retry_after=1.2), {"retry-after": "2", "retry-after-ms": "1200"}),
        (errors.Overloaded("x"), {"retry-after": "1", "retry-after-ms": "1000"}),
        (errors.Overloaded("x", retry_after=0), {"retry-after": "1", "retry-after-ms": "1"}),
        (errors.RateLimited("x", retry_after=121), {"retry-after": "121", "x-should-retry": "false"}),
        (errors.RateLimited("never fits"), {"retry-after": "60", "x-should-retry": "false"}),
        (errors.InternalError("x"), {"x-should-retry": "false"}),
    ],
)
def test_headers_tell_how_to_go_on(error, headers):
    response = response_of(error)
    assert {name: response.headers[name] for name in headers} == headers


@pytest.mark.parametrize(
    "error", [errors.InvalidValue("x"), errors.EngineFailed("x"), errors.BudgetExceeded("x")]
)
def test_other_errors_have_no_such_headers(error):
    assert not {"retry-after", "x-should-retry", "www-authenticate"} & set(response_of(error).headers)


def test_short_waits_may_be_retried():
    assert "x-should-retry" not in response_of(errors.RateLimited("x", retry_after=120)).headers
