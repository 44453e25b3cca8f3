"""Requests served in two halves: the signed state between them (contract, section 8).

The state is no secret but can't be forged: base64 of a JSON claim and its HMAC-SHA-256. It is bound to the key
that made it, the model,
the prompt and the first tokens, and it expires. Nothing of it is ever unpickled.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from array import array
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec

from chatwright.accounts.account import Account
from chatwright.core.chat import Disaggregation
from chatwright.core.deltas import ContextHandle
from chatwright.core.errors import ContextNotFound, InvalidValue, MissingParameter
from chatwright.core.generation import GenerationRequest, Handoff, TokenChunk, TokenLogprob

TTL_SECONDS = 60
_STATE = "disaggregated_params.opaque_state"


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """What the first half vouches for."""

    context_id: int
    key_id: str
    model: str
    prompt_digest: str
    first_token_ids: tuple[int, ...]
    expires: int
    first_logprobs: tuple[TokenLogprob, ...] = ()


class Handoffs:
    """Issues and checks states. `secret` is the server's; servers that share it can serve each other's halves."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._secret = hmac.digest(secret, b"disaggregated state", "sha256")
        self._clock = clock

    def begin(self) -> Handoff:
        """The first half: a new context."""
        return Handoff("context", secrets.randbits(53))  # JSON readers keep 53 bits of an integer

    def issue(
        self,
        handoff: Handoff,
        account: Account,
        model: str,
        prompt: Sequence[int],
        first: Sequence[int],
        logprobs: Sequence[TokenLogprob] = (),
    ) -> ContextHandle:
        """What the answer of the first half carries; `logprobs` are those of the tokens in `first`."""
        expires = int(self._clock()) + TTL_SECONDS
        claim = Claim(
            handoff.context_id,
            account.key_id,
            model,
            _digest(prompt),
            tuple(first),
            expires,
            tuple(logprobs),
        )
        body = msgspec.json.encode(claim)
        state = base64.urlsafe_b64encode(self._sign(body) + body).decode()
        return ContextHandle(handoff.context_id, state, tuple(first))

    def resume(self, asked: Disaggregation, account: Account, model: str, prompt: Sequence[int]) -> Handoff:
        """The second half. Raises MissingParameter, InvalidValue; ContextNotFound for a state that has expired."""
        if asked.context_id is None or not asked.state:
            missing = "ctx_request_id" if asked.context_id is None else "opaque_state"
            raise MissingParameter(
                f"generation_only needs {missing} from the answer to context_only.",
                param=f"disaggregated_params.{missing}",
            )
        claim = self._open(asked.state)
        if claim.key_id != account.key_id:
            raise InvalidValue("The state was made for another API key.", param=_STATE)
        given = (asked.context_id, model, _digest(prompt), asked.first_token_ids)
        if given != (claim.context_id, claim.model, claim.prompt_digest, claim.first_token_ids):
            raise InvalidValue(
                "The state belongs to another request: model, messages, ctx_request_id and first_gen_tokens must be those"
                " of the context_only request.",
                param=_STATE,
            )
        if claim.expires < self._clock():
            raise ContextNotFound(
                f"The context has expired; contexts live {TTL_SECONDS} seconds.", param=_STATE
            )
        return Handoff("continuation", claim.context_id, claim.first_token_ids, claim.first_logprobs)

    def _open(self, state: str) -> Claim:
        try:
            data = base64.b64decode(state, altchars=b"-_", validate=True)
            signature, body = data[:32], data[32:]
            if hmac.compare_digest(signature, self._sign(body)):
                return msgspec.json.decode(body, type=Claim)
        except (binascii.Error, ValueError, msgspec.MsgspecError):
            pass
        raise InvalidValue("The state is not one that this server has issued.", param=_STATE)

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body, "sha256")


def is_spent(request: GenerationRequest) -> bool:
    """Whether the first half has made all the tokens there may be."""
    handoff = request.handoff
    if handoff is None or handoff.kind != "continuation":
        return False
    return len(handoff.first_token_ids) >= request.sampling.max_tokens


async def nothing_more(request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
    """What an engine would make of a spent request, were it asked."""
    yield TokenChunk(finish="length", cached_tokens=len(request.prompt_token_ids) - 1)


def _digest(prompt: Sequence[int]) -> str:
    return hashlib.blake2b(array("i", prompt).tobytes(), digest_size=16).hexdigest()
