"""What crosses the engine's bars: token ids in, token ids out."""

from __future__ import annotations

from typing import Literal

import msgspec

from chatwright.core.sampling import SamplingParams

EngineFinish = Literal["stop", "length"]


class Prompt(msgspec.Struct, frozen=True):
    """A rendered and encoded prompt. `truncated_tokens` were cut from its left on the client's demand."""

    token_ids: tuple[int, ...]
    text: str
    truncated_tokens: int = 0


class Grammar(msgspec.Struct, frozen=True):
    """A constraint on the generated tokens. `source` is Lark in llguidance's dialect, or its JSON list of such grammars."""

    kind: Literal["llguidance"]
    source: str


class ThinkingBudget(msgspec.Struct, frozen=True):
    """Thinking ends after `max_tokens` tokens of it: the marker `end` is then forced. `inside`: the prompt has begun it already;
    else the marker `start` does. Needs a grammar that allows thinking. Markers of several tokens are known by their text.

    `then`: thinking comes in messages of which there may be more. `start` begins any message, thinking are those in which
    the grammar allows `end`, and behind it as much is forced of one of these sequences, which begin the answer.
    """

    max_tokens: int
    start: tuple[int, ...]
    end: tuple[int, ...]
    inside: bool = False
    then: tuple[tuple[int, ...], ...] = ()


class Handoff(msgspec.Struct, frozen=True):
    """Prefill in one process, decode in another (contract, section 8).

    context: the KV of the prompt is kept under `context_id` once the first token is sampled. continuation: it is
    taken from there instead of a prefill, and generation goes on after `first_token_ids`, which count as generated;
    `first_logprobs` is what was reported of them, where that was asked for.
    """

    kind: Literal["context", "continuation"]
    context_id: int
    first_token_ids: tuple[int, ...] = ()
    first_logprobs: tuple[TokenLogprob, ...] = ()


class GenerationRequest(msgspec.Struct, frozen=True):
    """One sequence to generate.

    `reservation` is the KV space, in tokens, the scheduler sets aside (contract 6.4); `priority` a shift of the
    arrival time in seconds, larger is later (6.6); `deadline` a Unix time after which a request that still
    waits is dropped;
    `cache_salt` the tenant whose prefix cache it shares; `fair_key` the tenant it is scheduled for and
    `weight` that tenant's share, `waiting_share` the part of the engine's waiting room that it may fill;
    `affinity` names the conversation, where the client said: its next request had better meet the same replica.
    """

    id: str
    prompt_token_ids: tuple[int, ...]
    sampling: SamplingParams
    reservation: int
    priority: float = 0.0
    deadline: float | None = None
    cache_salt: str = ""
    fair_key: str = ""
    weight: float = 1.0
    waiting_share: float = 1.0
    grammar: Grammar | None = None
    thinking: ThinkingBudget | None = None
    draft_token_ids: tuple[int, ...] = ()
    handoff: Handoff | None = None
    affinity: str = ""


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """Natural-log probability of a sampled token, and of the most likely ones in descending order."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class TokenChunk(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What one engine step made for one sequence: zero or more tokens, and how it ended if it did.

    `logprobs` is as long as `token_ids` where asked for, else empty. `stop_token` is the EOS or stop id that ended
    the sequence (the last of `token_ids`); `stop_token_is_eos` tells which. `cached_tokens` are prompt tokens
    served from the prefix cache; the first chunk has them, and in `queue_seconds` how long the request waited.
    """

    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: EngineFinish | None = None
    stop_token: int | None = None
    stop_token_is_eos: bool = False
    cached_tokens: int = 0
    accepted_draft_tokens: int = 0
    rejected_draft_tokens: int = 0
    queue_seconds: float = 0.0
