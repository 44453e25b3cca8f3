"""The garbage collector of a process that serves."""

from __future__ import annotations

import gc

from chatwright.workers.heap import settle


def test_what_is_alive_is_not_looked_at_again() -> None:
    before = gc.get_freeze_count()
    try:
        settle()
        assert gc.get_freeze_count() > before + 1000
        assert len(gc.get_objects()) < 1000
    finally:
        gc.unfreeze()
