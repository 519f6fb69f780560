"""What is proven of each kind of user, in words."""

from collections.abc import Sequence

from probe_ext.verdict.phrasing.plurals import are_or_is, capitalised, cause, listed
from probe_ext.verdict.values.json_types import Bracket

MAX_KINDS = 4
"""Kinds that the answer names; the others are in the table."""


def by_kind(brackets: Sequence[tuple[str, Bracket]]) -> str:
    """Return `By kind: chat is served with 40 on and review is not with 8.`; empty where all have the same bracket."""
    if len({bracket for _, bracket in brackets}) < 2:
        return ""
    return f"By kind: {listed([_of_one(name, bracket) for name, bracket in brackets], most=MAX_KINDS)}."


def _of_one(name: str, bracket: Bracket) -> str:
    held, failed = bracket
    if held is None:
        return f"{name} is not proven" if failed is None else f"{name} is not served with {failed:,} on"
    if failed is None:
        return f"{name} is served with {held:,} on"
    return f"{name} is served with {held:,} on, not with {failed:,}"


def without(names: Sequence[str]) -> str:
    """Return `Without review, of which no reply was measured`, for the start of the answer; empty without names."""
    return f"Without {listed(list(names))}, of which no reply was measured" if names else ""


def limit_sentence(first_limit: str | None, kind: str) -> str:
    """Return `Typing speed is the first limit.`; of several kinds of user, for which."""
    whose = f", for {kind}" if kind else ""
    return f"{capitalised(cause(first_limit))} {are_or_is(first_limit)} the first limit{whose}."
