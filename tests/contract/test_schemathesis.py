"""Requests that schemathesis makes from /openapi.json: no server error, no bad input accepted, no undocumented answer."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import load_all_checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    ensure_resource_availability,
    positive_data_acceptance,
    use_after_free,
)

from chatwright.api.openapi import document
from chatwright.models.catalog import DEFAULT_SLUG

load_all_checks()
CHAT = "/v1/chat/completions"
EXCLUDED = [
    # Rules between fields (min_tokens <= max_tokens, top_logprobs needs logprobs, ids within the vocabulary, reserved template
    # variables, templates that must render) can't be said in JSON Schema, so a body that fits the schema may get a 400.
    positive_data_acceptance,
    # Both follow a resource through POST, GET and DELETE; the API of models and chat creates none.
    use_after_free,
    ensure_resource_availability,
]


SCHEMA = schemathesis.openapi.from_dict(document("test"))


@SCHEMA.auth()
class Key:
    """Known to schemathesis as the key, so that it also asks with none and with a wrong one."""

    def get(self, case, context):
        return "Bearer contract-key"

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": data}


@SCHEMA.include(path_regex="^/(v1/|health|livez|readyz|openapi)").parametrize()
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.timeout(300)
def test_answers_keep_to_the_document(case, live):
    if (
        case.path == CHAT
        and isinstance(case.body, dict)
        and case.meta.generation.mode is GenerationMode.POSITIVE
    ):
        # Random names are all unknown, and long answers would test the engine only.
        case.body |= {"model": DEFAULT_SLUG, "max_tokens": 2}
        case.body.pop("max_completion_tokens", None)
        # Of a stream it holds each event, as an object of its own making, to what the document says of the whole.
        case.body |= {"stream": False, "stream_options": None}
    case.call_and_validate(live.url, excluded_checks=EXCLUDED, timeout=60)
