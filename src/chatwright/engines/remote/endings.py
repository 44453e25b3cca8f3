"""From a server's replies to chunks that end as the contract says (5.10), whatever word the server has for it."""

from __future__ import annotations

from chatwright.core.errors import EngineFailed
from chatwright.core.generation import EngineFinish, GenerationRequest, TokenChunk
from chatwright.engines.remote.dialect import Reply

FINISHES = {"stop": "stop", "length": "length", "eos": "stop", "not_finished": "length"}
"""Servers' words for an answer that ended well."""


class Endings:
    """One answer's. The tokens decide where it ends: EOS, then stop ids, then length; the server's word only counts where
    none of them does. `skip` tokens at its start belong to the first half of the request.
    """

    def __init__(self, request: GenerationRequest, server: str) -> None:
        self._params = request.sampling
        self._server = server
        handoff = request.handoff
        self._skip = list(handoff.first_token_ids if handoff and handoff.kind == "continuation" else ())
        self._made = 0
        self.finished = False

    def take(self, reply: Reply) -> TokenChunk:
        """The reply's tokens up to where the answer ends. Raises EngineFailed where the server ended it otherwise than well,
        or its logprobs don't fit its tokens.
        """
        tokens, logprobs = reply.token_ids, reply.logprobs
        if self._params.logprobs is not None and len(logprobs) != len(tokens):
            raise EngineFailed(f"{self._server} reported {len(logprobs)} logprobs for {len(tokens)} tokens.")
        for index, token in enumerate(tokens):
            finish, stop_token, is_eos = self._ending(token)
            if finish is not None:
                return self._chunk(tokens[: index + 1], reply, finish, stop_token, is_eos=is_eos)
        if reply.finish is None:
            return self._chunk(tokens, reply, None, None)
        word = FINISHES.get(reply.finish)
        if word is None:
            raise EngineFailed(f"{self._server} ended the answer with {reply.finish[:40]!r}.")
        return self._chunk(tokens, reply, "length" if word == "length" else "stop", None)

    def _ending(self, token: int) -> tuple[EngineFinish | None, int | None, bool]:
        params = self._params
        self._made += 1
        if self._made > params.min_tokens:
            if token in params.eos_token_ids and not params.ignore_eos:
                return "stop", token, True
            if token in params.stop_token_ids:
                return "stop", token, False
        return ("length" if self._made >= params.max_tokens else None), None, False

    def _chunk(
        self,
        tokens: tuple[int, ...],
        reply: Reply,
        finish: EngineFinish | None,
        stop_token: int | None,
        *,
        is_eos: bool = False,
    ) -> TokenChunk:
        self.finished = finish is not None
        start = self._skipped(tokens)
        wanted = self._params.logprobs is not None
        return TokenChunk(
            token_ids=tokens[start:],
            logprobs=reply.logprobs[start : len(tokens)] if wanted else (),
            finish=finish,
            stop_token=stop_token,
            stop_token_is_eos=is_eos,
            cached_tokens=reply.cached_tokens,
        )

    def _skipped(self, tokens: tuple[int, ...]) -> int:
        """How many of these the first half has shown already. Raises EngineFailed where they are others."""
        count = min(len(self._skip), len(tokens))
        if list(tokens[:count]) != self._skip[:count]:
            raise EngineFailed(f"{self._server} didn't continue after the first half's tokens.")
        del self._skip[:count]
        return count
