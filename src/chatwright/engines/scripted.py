"""`ScriptedEngine`: replays given token ids at a given pace. For tests, demos and developers of clients.

It is an engine like any other: max_tokens, EOS, stop ids, aborts, deadlines and usage work; only the choice of tokens is given.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Sequence

from chatwright.core.engine import EngineInfo, EngineStats
from chatwright.core.errors import EngineFailed, Overloaded
from chatwright.core.generation import EngineFinish, GenerationRequest, TokenChunk, TokenLogprob

UNSUPPORTED = (
    "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "bad", "bad_token_ids", "disaggregated_params",
)  # fmt: skip
"""What asks for other tokens than those of the script, or for a context, of which there is none.

How a token is drawn isn't among it: from a script, which is certain of each token, every draw is the same.
"""
Script = Callable[[GenerationRequest], Sequence[int]]


class ScriptedEngine:
    """Answers each request with `script(request)`, `chunk_tokens` tokens every `interval` seconds.

    Logprobs, where asked for, are 0 for the token that is replayed: the script is certain of it. With `fail_after`, an
    answer breaks off with EngineFailed before the chunk that would make it longer than so many tokens. `unsupported` are
    the request's fields that the script can't honour.
    """

    def __init__(
        self,
        script: Script,
        *,
        vocab_size: int,
        context_length: int = 8192,
        interval: float = 0.0,
        chunk_tokens: int = 1,
        fail_after: int | None = None,
        unsupported: tuple[str, ...] = UNSUPPORTED,
    ) -> None:
        self._script = script
        self._info = EngineInfo("scripted", "scripted", vocab_size, context_length, unsupported=unsupported)
        self._interval = interval
        self._chunk_tokens = chunk_tokens
        self._fail_after = fail_after
        self._running = 0
        self._generated = 0
        self._aborted = 0
        self._ready = False

    @property
    def info(self) -> EngineInfo:
        """Fixed."""
        return self._info

    @property
    def ready(self) -> bool:
        """Between start and close."""
        return self._ready

    @property
    def active(self) -> int:
        """Answers that run."""
        return self._running

    async def start(self) -> None:
        """Nothing to load."""
        self._ready = True

    async def close(self) -> None:
        """Running answers end at their next chunk."""
        self._ready = False

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        """See `Engine.generate`. A script that ends without EOS ends the answer as EOS would."""
        if not self._ready:
            raise Overloaded("The engine is not running.", retry_after=1.0)
        self._running += 1
        made = 0
        ended = False
        try:
            for chunk in _chunks(request, list(self._script(request)), self._chunk_tokens):
                await asyncio.sleep(self._interval)
                made += len(chunk.token_ids)
                broken = self._fail_after is not None and made > self._fail_after
                ended = broken or not self._ready or chunk.finish is not None
                if not self._ready:
                    raise EngineFailed("The server is shutting down.")
                if broken:
                    raise EngineFailed("The scripted engine broke off, as it was told to.")
                self._generated += len(chunk.token_ids)
                yield chunk
        finally:
            self._running -= 1
            self._aborted += not ended

    async def stats(self) -> EngineStats:
        """Counts since start."""
        return EngineStats(running=self._running, generated_tokens=self._generated, aborted=self._aborted)


def _chunks(request: GenerationRequest, script: list[int], size: int) -> list[TokenChunk]:
    """The script cut at EOS, stop id or max_tokens, and into chunks."""
    params = request.sampling
    kept, finish, stop_token, is_eos = _ending(request, script)
    tokens = script[:kept]
    parts = [tokens[start : start + size] for start in range(0, len(tokens), size)] or [[]]
    chunks = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        chunks.append(
            TokenChunk(
                token_ids=tuple(part),
                logprobs=()
                if params.logprobs is None
                else tuple(_certain(token, params.logprobs) for token in part),
                finish=finish if last else None,
                stop_token=stop_token if last else None,
                stop_token_is_eos=is_eos and last,
            )
        )
    return chunks


def _ending(request: GenerationRequest, script: list[int]) -> tuple[int, EngineFinish, int | None, bool]:
    params = request.sampling
    for index, token in enumerate(script):
        late_enough = index >= params.min_tokens
        if late_enough and token in params.eos_token_ids and not params.ignore_eos:
            return index + 1, "stop", token, True
        if late_enough and token in params.stop_token_ids:
            return index + 1, "stop", token, False
        if index + 1 >= params.max_tokens:
            return index + 1, "length", None, False
    return len(script), "stop", None, False


def _certain(token: int, alternatives: int) -> TokenLogprob:
    others = (other for other in range(alternatives + 1) if other != token)
    top = ((token, 0.0), *((other, -math.inf) for other in others))[:alternatives]
    return TokenLogprob(token, 0.0, tuple((other, max(value, -9999.0)) for other, value in top))
