"""A small table with a note above it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class NotedTable:
    """Texts of all cells; the first of a row is its heading."""

    heads: Sequence[tuple[str, str]]
    """of each column: heading, and in small print its unit or what it is of; empty for none"""
    rows: Sequence[Sequence[str]]
    note: str
