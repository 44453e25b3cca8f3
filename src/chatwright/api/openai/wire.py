"""The request of POST /v1/chat/completions: every field, its JSON type, range and default (contract 2)."""

# ruff: noqa: RUF012 - pydantic copies mutable defaults, and these objects are frozen

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Discriminator, Tag

from chatwright.api import limits
from chatwright.api.openai.fields import Flag, Integer, Number, Object, OneOf, Text
from chatwright.api.openai.maps import LogitBias, StringMap
from chatwright.api.openai.messages import TextPart, WireMessage
from chatwright.api.openai.objects import Closed, Items, require_one_of, tag_of_kind
from chatwright.api.openai.tools import WireResponseFormat, WireTool, WireToolChoice

TokenId = Annotated[int, Integer(0, limits.TOKEN_ID_MAX)]
Stop = Annotated[str, Text(limits.STOP_LENGTH.maximum, shortest=1)]
Bad = Annotated[str, Text(limits.BAD_LENGTH.maximum, shortest=1)]
StringOrStrings = BeforeValidator(require_one_of(str, list, expected="a string or an array of strings"))
_USER = Text(limits.USER.maximum)
_TOKENS = Integer(1, limits.MAX_TOKENS.maximum)


class StreamOptions(Closed):
    """What a stream says about usage (contract Q14)."""

    include_usage: Annotated[bool, Flag()] = True
    continuous_usage_stats: Annotated[bool, Flag()] = False


class Prediction(Closed):
    """Text the answer is likely to repeat."""

    type: Annotated[str, OneOf(("content",))]
    content: Annotated[
        Annotated[str, Text(), Tag("<str>")]
        | Annotated[list[TextPart], Items(limits.PARTS.maximum), Tag("<list>")],
        Discriminator(tag_of_kind),
        BeforeValidator(require_one_of(str, list, expected="a string or an array of text parts")),
    ]


class DisaggregatedParams(Closed):
    """Prefill here, decode there (contract 8)."""

    request_type: Annotated[
        str, OneOf(("context_only", "generation_only", "context_and_generation"), ignore_case=True)
    ]
    first_gen_tokens: Annotated[list[TokenId], Items(limits.DISAGGREGATED_TOKENS.maximum)] = []
    ctx_request_id: Annotated[int | None, Integer(0, limits.INT64_MAX)] = None
    opaque_state: Annotated[str | None, Text(limits.DISAGGREGATED_STATE.maximum)] = None
    draft_tokens: Annotated[list[TokenId], Items(limits.DISAGGREGATED_TOKENS.maximum)] = []
    multimodal_embedding_handles: Annotated[
        list[Annotated[dict[str, Any], Object()]],
        Items(limits.EMBEDDING_HANDLES.maximum),
    ] = []
    multimodal_hashes: Annotated[
        list[Annotated[list[Annotated[int, Integer()]], Items(8, 8)]],
        Items(limits.EMBEDDING_HANDLES.maximum),
    ] = []


class ChatCompletionRequest(Closed):
    """The body of POST /v1/chat/completions."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    keeps_null: ClassVar[frozenset[str]] = frozenset({"max_tokens", "max_completion_tokens"})

    messages: Annotated[list[WireMessage], Items(limits.MESSAGES.maximum, 1)]
    """The conversation so far."""
    model: Annotated[str, Text(limits.MODEL.maximum, shortest=1)]
    """The slug of a model, or an alias."""
    frequency_penalty: Annotated[float, Number(-2, 2)] = 0.0
    """Taken off a token's logit for each time it has been generated."""
    logit_bias: Annotated[tuple[tuple[int, float], ...] | None, LogitBias()] = None
    """Added to the logits of tokens, by token id."""
    logprobs: Annotated[bool, Flag()] = False
    """Report the log-probability of each generated token."""
    top_logprobs: Annotated[int, Integer(0, limits.TOP_LOGPROBS.maximum)] = 0
    """How many of the most likely tokens to report at each place; needs `logprobs`."""
    max_tokens: Annotated[int, _TOKENS] | None = 4096
    """Most tokens to generate. Null: no preference, up to the end of the context."""
    max_completion_tokens: Annotated[int, _TOKENS] | None = None
    """OpenAI's newer name of `max_tokens`."""
    n: Annotated[int, Integer(1, 1)] = 1
    """Answers to generate."""
    presence_penalty: Annotated[float, Number(-2, 2)] = 0.0
    """Taken off the logit of each token that has been generated at all."""
    response_format: WireResponseFormat | None = None
    """The form the answer must have."""
    seed: Annotated[int | None, Integer(-limits.INT64_MAX - 1, limits.INT64_MAX)] = None
    """The same seed, request and build of a model give the same tokens. Null: a fresh one."""
    stop: Annotated[
        Annotated[Stop, Tag("<str>")] | Annotated[list[Stop], Items(limits.STOP.maximum), Tag("<list>")],
        Discriminator(tag_of_kind),
        StringOrStrings,
    ] = []
    """Texts that end the answer where they come up."""
    stream: Annotated[bool, Flag()] = False
    """Answer as Server-Sent Events while tokens are generated."""
    stream_options: StreamOptions | None = None
    """What a stream reports about usage; needs `stream`."""
    temperature: Annotated[float | None, Number(0, 4)] = None
    """Divides the logits before sampling; 0 takes the most likely token. Null: the model's own."""
    top_p: Annotated[float, Number(above=0, maximum=1)] = 1.0
    """Sample from the fewest tokens whose probabilities add up to this."""
    tools: Annotated[list[WireTool], Items(limits.TOOLS.maximum)] = []
    """Functions the model may call."""
    tool_choice: WireToolChoice | None = None
    """Whether it may, must or must not call one, or which. Null: auto with tools, none without."""
    parallel_tool_calls: Annotated[bool, Flag()] = True
    """Allow several calls in one answer."""
    user: Annotated[str | None, _USER] = None
    """An opaque id of your user, for accounting; never influences the answer."""
    best_of: Annotated[int, Integer(1, 1)] = 1
    """Answers to choose from."""
    top_k: Annotated[int, Integer(-1)] = 50
    """Sample from this many of the most likely tokens; -1 and 0 take all."""
    top_p_min: Annotated[float, Number(0, 1)] = 0.0
    """Let `top_p` decay within each sentence down to this; 0 keeps it as it is."""
    min_p: Annotated[float, Number(0, 1)] = 0.0
    """Drop tokens less likely than this share of the most likely one."""
    repetition_penalty: Annotated[float, Number(above=0)] = 1.0
    """Divides positive and multiplies negative logits of tokens seen in prompt or answer; 1 is off."""
    length_penalty: Annotated[float, Number()] = 1.0
    """For beam search, of which there is none with one answer: changes nothing."""
    early_stopping: Annotated[bool, Flag()] = False
    """For beam search, of which there is none with one answer: changes nothing."""
    bad: Annotated[
        Annotated[Bad, Tag("<str>")] | Annotated[list[Bad], Items(limits.BAD.maximum), Tag("<list>")],
        Discriminator(tag_of_kind),
        StringOrStrings,
    ] = []
    """Texts whose tokens are never generated in this order."""
    bad_token_ids: Annotated[list[TokenId], Items(limits.BAD_TOKEN_IDS.maximum)] = []
    """Tokens that are never generated."""
    stop_token_ids: Annotated[list[TokenId], Items(limits.STOP_TOKEN_IDS.maximum)] = []
    """Tokens that end the answer."""
    include_stop_str_in_output: Annotated[bool, Flag()] = False
    """Keep the stop text or token in the answer."""
    ignore_eos: Annotated[bool, Flag()] = False
    """Go on after the model's end-of-sequence token."""
    min_tokens: Annotated[int, Integer(0, limits.MAX_TOKENS.maximum)] = 0
    """Tokens to generate before the answer may end."""
    skip_special_tokens: Annotated[bool, Flag()] = True
    """Leave special tokens out of the text."""
    spaces_between_special_tokens: Annotated[bool, Flag()] = True
    """Put spaces between special tokens, where the tokenizer does so."""
    truncate_prompt_tokens: Annotated[int | None, Integer(1)] = None
    """Keep only this many tokens of the prompt's end."""
    echo: Annotated[bool, Flag()] = False
    """Begin the answer with the text of the last message, where both have the same role."""
    add_generation_prompt: Annotated[bool, Flag()] = True
    """End the prompt with the header of an assistant turn."""
    add_special_tokens: Annotated[bool, Flag()] = False
    """Let the tokenizer add its special tokens to those of the template."""
    documents: Annotated[
        list[Annotated[dict[str, str], StringMap()]],
        Items(limits.DOCUMENTS.maximum),
    ] = []
    """Texts for the template, usually with `title` and `text`."""
    chat_template: Annotated[str | None, Text(limits.CHAT_TEMPLATE.maximum)] = None
    """A Jinja template in place of the model's own."""
    chat_template_args: Annotated[dict[str, Any] | None, Object(limits.TEMPLATE_ARGS.maximum)] = None
    """More variables for the template."""
    chat_template_kwargs: Annotated[dict[str, Any] | None, Object(limits.TEMPLATE_ARGS.maximum)] = None
    """Another name of `chat_template_args`."""
    disaggregated_params: DisaggregatedParams | None = None
    """For servers that prefill in one process and decode in another."""
    reasoning_effort: Annotated[
        str | None, OneOf(("none", "minimal", "low", "medium", "high", "xhigh", "max"))
    ] = None
    """How much to reason, for models that take it: the part of the answer's tokens that thinking may use is 0, 5, 20, 50, 75, 90
    or 100 %, of which a tenth (64 to 1024 tokens, or half) always stays for what follows. Templates may read it too.
    """
    verbosity: Annotated[str | None, OneOf(("low", "medium", "high"))] = None
    """How long the answer should be, for templates that take it."""
    prediction: Prediction | None = None
    """Text the answer is likely to repeat; makes generation faster, never different."""
    metadata: Annotated[
        dict[str, str],
        StringMap(limits.METADATA.maximum, limits.METADATA_KEY.maximum, limits.METADATA_VALUE.maximum),
    ] = {}
    """Labels for the ledger and the logs."""
    prompt_cache_key: Annotated[str | None, Text(limits.CACHE_KEY.maximum)] = None
    """A hint which requests share a prefix."""
    safety_identifier: Annotated[str | None, _USER] = None
    """OpenAI's newer name of `user`."""
    service_tier: Annotated[str, OneOf(("auto", "default", "flex", "priority"))] = "auto"
    """The scheduling class, as far as the key may use it; `auto` is the key's usual one."""
    store: Annotated[bool, Flag()] = False
    """Must be false: clients can't have answers stored and fetch them later."""
    modalities: Annotated[list[Annotated[str, OneOf(("text", "audio"))]], Items(2)] = ["text"]
    """Must be text alone."""

    @property
    def token_limit(self) -> int | None:
        """`max_tokens` under either of its names; None where only null was given (contract 6.5)."""
        given = {"max_tokens", "max_completion_tokens"} & self.model_fields_set
        numbers = [number for name in given if (number := getattr(self, name)) is not None]
        if numbers:
            return int(numbers[0])
        return None if given else 4096
