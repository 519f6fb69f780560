"""The short visits of a search, as a table."""

from collections.abc import Mapping
from typing import Any

from probe_ext.report.sections.optional.noted_table import NotedTable
from probe_ext.verdict.phrasing import formats

_HEADS = (
    ("users", ""),
    ("all users active", "time of the run"),
    ("replies", "sent meanwhile"),
    ("within bounds so far", "of the replies observed"),
    ("first word", "median"),
)
_NOTE = (
    "A search goes up in short visits while replies do well so far, and measures a level only where it matters. "
    "A visit ends as soon as the first replies show enough, often while they are still being typed, so it proves "
    "nothing: its replies count for no level."
)


def short_visits(capacity: Mapping[str, Any]) -> NotedTable | None:
    """Return the table; None for a run that made none."""
    visits = capacity["short_visits"]
    return NotedTable(_HEADS, [_row(one) for one in visits], _NOTE) if visits else None


def _row(one: Mapping[str, Any]) -> list[str]:
    observed = one["replies_observed"]
    fine = f"{formats.count(one['replies_within_bounds'])} of {formats.count(observed)}" if observed else formats.DASH
    return [
        formats.count(one["users"]),
        f"{formats.span(one['t_start'])} to {formats.span(one['t_end'])}",
        formats.count(one["replies"]),
        fine,
        formats.seconds(one["first_word_p50"]),
    ]
