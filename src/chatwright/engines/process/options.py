"""What an engine process is told when it is born."""

from __future__ import annotations

from typing import Literal

import msgspec

from chatwright.engines.batching.loop import LoopLimits
from chatwright.engines.process.tcp import TcpListener

EngineKind = Literal["openvino", "native", "simulated"]


class EngineOptions(msgspec.Struct, frozen=True):
    """`kv_bytes` sizes the block pool; `sentence_ends` is a packed bit per token id, set where a token ends
    a sentence. `simulated` holds numbers for the simulated runner: vocab_size, exact_recompute (0 or 1),
    load_seconds, step_seconds, row_seconds, fail_after (steps), batch_noise. `tokenizer_path` (a tokenizer.json) and
    `eos_token_ids` are for grammars; without them none can be followed.
    Without `reproducible` kernels may give up for speed what makes a seed's text depend on its request alone.
    Contexts are kept in `handoff_folder`; whoever puts engines into pools
    refuses requests that bring their own halves where `handoff_requests` is false. On `listen_path`, a
    Unix socket, other processes may connect too, and
    on `listen_tcp` processes of other machines that know its secret.
    """

    kind: EngineKind
    model_path: str
    context_length: int
    threads: int
    kv_bytes: int
    limits: LoopLimits = LoopLimits()
    reproducible: bool = True
    sentence_ends: bytes = b""
    handoff_folder: str | None = None
    handoff_requests: bool = True
    tokenizer_path: str | None = None
    eos_token_ids: tuple[int, ...] = ()
    listen_path: str | None = None
    listen_tcp: TcpListener | None = None
    simulated: dict[str, float] = {}
