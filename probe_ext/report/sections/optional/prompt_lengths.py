"""TTFT by prompt length, as a table."""

from collections.abc import Mapping
from typing import Any

from probe_ext.report.sections.optional.noted_table import NotedTable
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things

_HEADS = (
    ("prompt tokens", ""),
    ("replies", ""),
    ("TTFT p50", ""),
    ("TTFT p95", ""),
    ("in the prefix cache", "of their tokens"),
)


def prompt_lengths(capacity: Mapping[str, Any]) -> NotedTable | None:
    """Return the table; None where prompts have about one length, or too few replies tell."""
    found = capacity["ttft_by_length"]
    if not found:
        return None
    at = things(found["users"], "user")
    why = "at higher ones, prompts wait for those of others, whatever their own length"
    note = f"At {at}, the lowest level with enough replies: {why}."
    return NotedTable(_HEADS, [_row(one) for one in found["classes"]], note)


def _row(one: Mapping[str, Any]) -> list[str]:
    low, high = formats.count(one["tokens_from"]), formats.count(one["tokens_to"])
    return [
        low if low == high else f"{low} to {high}",
        formats.count(one["replies"]),
        formats.seconds(one["ttft_p50"]),
        formats.seconds(one["ttft_p95"]),
        formats.percent(one["cached_share"]),
    ]
