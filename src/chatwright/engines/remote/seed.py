"""Seeds for generators that don't look at all 64 bits: PyTorch's on a CPU takes the lower 32."""

from __future__ import annotations

import hashlib


def spread(seed: int) -> int:
    """An int64 as a number from 0 to 2^63-1, itself where that has 32 bits; others differ in their lower 32 bits too."""
    if 0 <= seed < 1 << 32:
        return seed
    digest = hashlib.blake2b(seed.to_bytes(8, "little", signed=True), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
