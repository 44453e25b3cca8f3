"""What each replica has probably cached: a router's memory of the prompts it sent there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from chatwright.core.generation import GenerationRequest
from chatwright.engines.batching.blocks import BlockHash, chain_hash, root_hash

BLOCK_TOKENS = 32
MOST_BLOCKS = 16_384
"""For each replica; half a million tokens, about 4 MB here."""


def prompt_chain(request: GenerationRequest, block_tokens: int = BLOCK_TOKENS) -> list[BlockHash]:
    """Chained hashes of the prompt's full blocks, salted like the engine's own prefix cache."""
    parent, prompt = root_hash(request.cache_salt), request.prompt_token_ids
    chain = []
    for end in range(block_tokens, len(prompt) + 1, block_tokens):
        parent = chain_hash(parent, prompt[end - block_tokens : end])
        chain.append(parent)
    return chain


class PrefixIndex:
    """Approximate: what a replica evicted is still listed here, what it decoded never is. Least recently sent blocks go
    first, so the memory is bounded, and a block goes before the one it follows, so what is listed is always whole prefixes.
    """

    def __init__(self, most_blocks: int = MOST_BLOCKS) -> None:
        self._most_blocks = most_blocks
        self._blocks: dict[str, OrderedDict[BlockHash, None]] = {}

    def matched(self, name: str, chain: Sequence[BlockHash]) -> int:
        """How many blocks of the chain, from its first on, the replica was sent."""
        known = self._blocks.get(name, OrderedDict())
        low, high = 0, len(chain)
        while low < high:  # a listed block's parents are listed too
            middle = (low + high + 1) // 2
            if chain[middle - 1] in known:
                low = middle
            else:
                high = middle - 1
        return low

    def add(self, name: str, chain: Sequence[BlockHash]) -> None:
        """The replica was sent this chain."""
        known = self._blocks.setdefault(name, OrderedDict())
        for block in reversed(chain):
            known[block] = None
            known.move_to_end(block)
        while len(known) > self._most_blocks:
            known.popitem(last=False)

    def forget(self, name: str) -> None:
        """The replica's cache has gone."""
        self._blocks.pop(name, None)

    def size(self, name: str) -> int:
        """Blocks listed for a replica."""
        return len(self._blocks.get(name, ()))
