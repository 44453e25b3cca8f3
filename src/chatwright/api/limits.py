"""Every limit on size, depth and count of a request, in one table. The documentation's table is made from it."""

from __future__ import annotations

from typing import NamedTuple


class Limit(NamedTuple):
    """At most `maximum` `unit` of `subject`."""

    subject: str
    maximum: int
    unit: str


KIB = 1024
INT64_MAX = 2**63 - 1
TOKEN_ID_MAX = 2**31 - 1

HEAD = Limit("request line and headers", 64 * KIB, "bytes")
BODY = Limit("request body (configurable)", 8 * KIB * KIB, "bytes")
DEPTH = Limit("JSON nesting", 100, "levels")
NODES = Limit("JSON values", 100_000, "values")

MESSAGES = Limit("messages", 4096, "items")
PARTS = Limit("messages.[i].content", 1024, "parts")
MESSAGE_NAME = Limit("messages.[i].name", 256, "characters")
MESSAGE_TOOL_CALLS = Limit("messages.[i].tool_calls", 256, "items")
TOOL_CALL_ID = Limit("messages.[i].tool_call_id", 256, "characters")

MODEL = Limit("model", 256, "characters")
MAX_TOKENS = Limit("max_tokens", 262_144, "tokens")
TOP_LOGPROBS = Limit("top_logprobs", 20, "tokens")
STOP = Limit("stop", 32, "items")
STOP_LENGTH = Limit("stop.[i]", 1000, "characters")
STOP_TOKEN_IDS = Limit("stop_token_ids", 1024, "items")
LOGIT_BIAS = Limit("logit_bias", 4096, "entries")
BAD = Limit("bad", 256, "items")
BAD_LENGTH = Limit("bad.[i]", 1000, "characters")
BAD_TOKEN_IDS = Limit("bad_token_ids", 1024, "items")

TOOLS = Limit("tools", 1024, "items")
TOOL_NAME = Limit("tools.[i].function.name", 128, "characters")
TOOL_ENUM_VALUES = Limit("tools.[i].function.parameters", 1000, "enum values")
SCHEMA = Limit("a JSON Schema, as compact JSON", 256 * KIB, "bytes")
SCHEMA_NAME = Limit("response_format.json_schema.name", 256, "characters")
GRAMMAR = Limit("response_format.grammar, response_format.structural_tag", 256 * KIB, "characters")
STRUCTURES = Limit("response_format.structures, response_format.triggers", 500, "items")

CHAT_TEMPLATE = Limit("chat_template", 64 * KIB, "characters")
TEMPLATE_ARGS = Limit("chat_template_args", 256, "entries")
DOCUMENTS = Limit("documents", 1024, "items")

USER = Limit("user, safety_identifier", 512, "characters")
METADATA = Limit("metadata", 16, "entries")
METADATA_KEY = Limit("a key of metadata", 64, "characters")
METADATA_VALUE = Limit("a value of metadata", 512, "characters")
CACHE_KEY = Limit("prompt_cache_key", 256, "characters")
AFFINITY = Limit("header x-session-affinity (longer ones are ignored)", 256, "characters")
API_KEY = Limit("API key", 512, "characters")
REQUEST_ID = Limit("header x-request-id (others are replaced)", 128, "characters")

DISAGGREGATED_TOKENS = Limit("disaggregated_params.first_gen_tokens, .draft_tokens", 1024, "items")
DISAGGREGATED_STATE = Limit("disaggregated_params.opaque_state", 64 * KIB, "characters")
EMBEDDING_HANDLES = Limit("disaggregated_params.multimodal_embedding_handles", 256, "items")

REPORTED_PROBLEMS = Limit("problems listed in one error message", 10, "problems")
QUOTED_VALUE = Limit("an offending value quoted in an error message", 200, "characters")

TABLE: tuple[Limit, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Limit))
"""In the order above."""
