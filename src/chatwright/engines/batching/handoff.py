"""KV on its way from the process that prefilled to the one that decodes: files in a folder that both can read.

A context lives for `ttl` seconds, then it is swept, so nothing that is never fetched stays for long.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from chatwright.core.errors import ContextNotFound, InvalidValue
from chatwright.core.generation import GenerationRequest
from chatwright.engines.batching.runner import Runner
from chatwright.engines.batching.sequence import Sequence

TTL_SECONDS = 60.0


class Context(msgspec.Struct, frozen=True, array_like=True):
    """KV of the first `computed` tokens of a sequence, as `Runner.export_blocks` gave it, on a build called `fingerprint`."""

    fingerprint: str
    computed: int
    kv: bytes


def context_path(folder: Path, context_id: int) -> Path:
    """Where a context lies."""
    return folder / f"{context_id:016x}.kv"


class KvSpool:
    """A private folder of contexts. `put` is for the loop's thread, `get` for any; both do file I/O."""

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        *,
        ttl: float = TTL_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._fingerprint = fingerprint
        self._ttl = ttl
        self._clock = clock
        self._sweep()

    def put(self, context_id: int, computed: int, kv: bytes) -> None:
        """Keep a context. Raises OSError where the disk doesn't take it."""
        self._sweep()
        path = self._path(context_id)
        part = path.with_suffix(f".{os.getpid()}.part")
        data = msgspec.msgpack.encode(Context(self._fingerprint, computed, kv))
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        part.replace(path)

    def get(self, context_id: int) -> Context:
        """Find a context. Raises ContextNotFound where it has expired, InvalidValue where another build made it."""
        path = self._path(context_id)
        try:
            fresh = path.stat().st_mtime + self._ttl > self._clock()
            data = path.read_bytes() if fresh else None
        except OSError:
            data = None
        if data is None:
            raise ContextNotFound(
                f"The context {context_id} has expired or was never made; contexts live {self._ttl:g} seconds.",
                param="disaggregated_params.ctx_request_id",
            )
        context = msgspec.msgpack.decode(data, type=Context)
        if context.fingerprint != self._fingerprint:
            raise InvalidValue(
                "The context was made by another build of the model.",
                param="disaggregated_params.opaque_state",
            )
        return context

    def _path(self, context_id: int) -> Path:
        return context_path(self._folder, context_id)

    def _sweep(self) -> None:
        oldest = self._clock() - self._ttl
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):  # another process sweeps too
                if path.stat().st_mtime < oldest:
                    path.unlink()


def context_for(request: GenerationRequest, spool: KvSpool | None) -> Context | None:
    """The KV that another process made for this request, where it continues one. Raises like `KvSpool.get`, and
    InvalidValue where the prompt is another.
    """
    if spool is None or request.handoff is None or request.handoff.kind == "context":
        return None
    context = spool.get(request.handoff.context_id)
    if context.computed != len(request.prompt_token_ids):
        raise InvalidValue(
            f"The context holds {context.computed} tokens, the prompt {len(request.prompt_token_ids)}.",
            param="disaggregated_params.ctx_request_id",
        )
    return context


def keep(sequence: Sequence, spool: KvSpool | None, runner: Runner) -> str | None:
    """Put a finished context where whoever continues it finds it. Returns why that failed: one full disk may not end
    the loop.
    """
    handoff = sequence.request.handoff
    if spool is None or handoff is None or handoff.kind != "context":
        return None
    blocks = sequence.blocks[: -(-sequence.computed // runner.info.block_size)]
    try:
        spool.put(handoff.context_id, sequence.computed, runner.export_blocks(blocks))
    except OSError as error:
        return f"The context can't be kept: {error.strerror or type(error).__name__}."
    return None
