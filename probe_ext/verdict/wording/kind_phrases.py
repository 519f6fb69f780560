"""What is proven of each kind of user, in words."""

from collections.abc import Sequence

from probe_ext.verdict.phrasing.plurals import are_or_is, capitalised, cause, listed, things
from probe_ext.verdict.values.json_types import Bracket

MAX_KINDS = 4
"""Kinds that the answer names; the others are in the table."""


def by_kind(brackets: Sequence[tuple[str, Bracket]]) -> str:
    """Return `By kind: chat is served at 40 users; review is not served at 8.`; empty where all have one bracket."""
    if len({bracket for _, bracket in brackets}) < 2:
        return ""
    said = [_of_one(name, bracket) for name, bracket in brackets[:MAX_KINDS]]
    more = len(brackets) - MAX_KINDS
    return f"By kind: {'; '.join([*said, *([f'{more} more in the table'] if more > 0 else [])])}."


def _of_one(name: str, bracket: Bracket) -> str:
    held, failed = bracket
    if held is None:
        return f"{name} is not proven" if failed is None else f"{name} is not served at {things(failed, 'user')}"
    but = "" if failed is None else f", not at {failed:,}"
    return f"{name} is served at {things(held, 'user')}{but}"


def without(names: Sequence[str]) -> str:
    """Return `Without the kind “review”, of which no reply was measured`, to start the answer; empty without names."""
    if not names:
        return ""
    kinds = "kind" if len(names) == 1 else "kinds"
    return f"Without the {kinds} {listed([f'“{name}”' for name in names])}, of which no reply was measured"


def limit_sentence(first_limit: str | None, kind: str) -> str:
    """Return `Typing speed is the first limit.`; of several kinds of user, for which."""
    whose = f", for {kind}" if kind else ""
    return f"{capitalised(cause(first_limit))} {are_or_is(first_limit)} the first limit{whose}."
