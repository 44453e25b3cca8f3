"""The garbage collector and what lives as long as the process."""

from __future__ import annotations

import gc


def settle() -> None:
    """Collect once, then never look at what is alive now again. Call it once everything is loaded.

    A full collection over modules, models and routes stops everything for 20 ms and more, in the middle of answers.
    """
    gc.collect()
    gc.freeze()
