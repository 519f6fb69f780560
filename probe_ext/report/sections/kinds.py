"""Capacity by kind of user, or by request name: what is proven of each, and its share at each number of users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.report.sections.level_table import DIMENSION_LABELS, Cell, Column, Heading, Row, Table
from probe_ext.report.wording.answer_context import kinds_are_users
from probe_ext.report.wording.shared_sentences import STATE_SIGNS, STATE_WORDS
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.wording.capacity_phrase import interval_text

Capacity = Mapping[str, Any]

_WHAT = {
    True: "Each kind is judged {how}, over the number of users of all kinds together. A number of users holds where it "
    "holds for every kind.",
    False: "The locustfile records its requests under several names. Each is judged by the run's profile, over the "
    "number of users; the answer counts all of them together.",
}


@dataclass(frozen=True)
class KindTable:
    """A row for each kind, and a table of shares by number of users."""

    title: str
    meaning: str
    heads: Sequence[tuple[str, str]]
    """term, empty where there is none, and heading"""
    rows: Sequence[Sequence[str]]
    shares: Table
    notes: Sequence[str]


def kind_table(capacity: Capacity) -> KindTable | None:
    """Return the section; None where all users are of one kind."""
    kinds = capacity["kinds"]
    if not kinds:
        return None
    are_users = kinds_are_users(capacity)
    heads = [
        ("", "kind" if are_users else "name"),
        *([("", "of the users"), ("", "profile")] if are_users else []),
        ("replies", "replies"),
        ("capacity", "served with up to"),
        ("interval", "95 % interval"),
        ("why", "first limit"),
    ]
    title = "By kind of user" if are_users else "By request name"
    rows = [_row(kind, are_users=are_users) for kind in kinds]
    meaning = _WHAT[are_users].format(how=_judged_by(kinds))
    return KindTable(title, meaning, heads, rows, _shares(capacity), _notes(capacity))


def _judged_by(kinds: Sequence[Mapping[str, Any]]) -> str:
    names = {str(kind["profile"]["name"]) for kind in kinds}
    return f"by the profile {names.pop()}" if len(names) == 1 else "by its own profile"


def _row(kind: Mapping[str, Any], *, are_users: bool) -> list[str]:
    limit = DIMENSION_LABELS[kind["breaks_first"]] if kind["breaks_first"] else formats.DASH
    stated = [_stated_share(kind), str(kind["profile"]["name"])] if are_users else []
    return [str(kind["name"]), *stated, formats.count(kind["replies"]), proven_users(kind), _interval(kind), limit]


def _stated_share(kind: Mapping[str, Any]) -> str:
    """Return `80 %`, `4 users`; a dash where the workload states neither."""
    if kind["fixed_users"] is not None:
        return things(kind["fixed_users"], "user")
    return formats.percent(kind["share"])


def proven_users(kind: Mapping[str, Any]) -> str:
    """Return `8 users, fails at 16`, `fails at 8`, `not proven`."""
    held, failed = kind["bracket"]
    served = kind["served_users"]
    parts = [f"{'about ' if served != held else ''}{things(served, 'user')}"] if held is not None else []
    parts += [f"fails at {failed:,}"] if failed is not None else []
    return ", ".join(parts) or ("not proven" if kind["replies"] else "not measured")


def _interval(kind: Mapping[str, Any]) -> str:
    interval = kind["interval"]
    return formats.DASH if interval is None or tuple(interval) == (0, None) else interval_text(tuple(interval))


def _shares(capacity: Capacity) -> Table:
    kinds = capacity["kinds"]
    states = {level["users"]: str(level["state"]) for level in capacity["levels"]}
    found = {(kind["name"], level["users"]): level for kind in kinds for level in kind["levels"]}
    columns = (Column("users", "", "users"), *(Column(kind["name"], "", "share") for kind in kinds))
    rows = [
        Row(formats.count(users), [_share(found.get((kind["name"], users))) for kind in kinds], states[users], users)
        for users in sorted({users for _, users in found})
    ]
    return Table(columns, rows, [Heading(column.head, [column]) for column in columns])


def _share(level: Mapping[str, Any] | None) -> Cell:
    if level is None:
        return Cell(formats.DASH, "no judged reply", "none")
    low, high = (formats.percent(level[f"served_share_{end}"]) for end in ("low", "high"))
    return Cell(
        f"{STATE_SIGNS[level['state']]}\u00a0{formats.percent(level['served_share'])}",
        f"{STATE_WORDS[level['state']]}; 95 % interval {low} to {high}",
        level["state"],
        f"{things(level['users_of_kind'], 'user')}, {things(level['replies'], 'reply', 'replies')}",
    )


def _notes(capacity: Capacity) -> list[str]:
    """Say which kinds serve some of their users worse than others."""
    differ = [kind for kind in capacity["kinds"] if kind["groups"] is not None]
    return [f"Users of {kind['name']} are not served alike: {_worse(kind['groups'])}." for kind in differ]


def _worse(groups: Mapping[str, Any]) -> str:
    worse = groups["worse_users"]
    return f"with {things(groups['users'], 'user')} on, {worse:,} of this kind {'gets' if worse == 1 else 'get'} less"
