"""Tables for people, whole also where a program reads them."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

_UNBOUNDED = 10_000


def print_table(table: Table) -> None:
    """Print it. Nothing is ever cut off: a terminal wraps what is too wide, everything else gets it on one line."""
    for column in table.columns:
        column.overflow = "fold"
    Console(width=None if sys.stdout.isatty() else _UNBOUNDED).print(table, markup=False)
