"""Capacity by kind of user, or by request name: what is proven of each, and its share at each number of users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.measure.rate import Rate
from probe_ext.report.sections.level_table import DIMENSION_LABELS
from probe_ext.report.wording.answer_context import kinds_are_users
from probe_ext.report.wording.shared_sentences import STATE_SIGNS, STATE_WORDS, cost_sentences
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import RATE_UNIT, things
from probe_ext.verdict.wording.capacity_phrase import interval_text

Capacity = Mapping[str, Any]

_USERS = (
    "Each kind is judged {how}, over the number of users of all kinds together. A number of users holds where it "
    "holds for every kind."
)
_NAMES = (
    "The locustfile records its requests under several names. Each is judged by the run's profile, over the number of "
    "users; the answer counts all of them together."
)


@dataclass(frozen=True)
class KindRow:
    """One kind, or one number of users."""

    head: str
    detail: str
    """what the workload states of the kind; may be empty"""
    cells: Sequence[tuple[str, str]]
    """text, and what a reader who points at it learns"""

    @property
    def texts(self) -> list[str]:
        """The row for a table without pointing."""
        return [f"{self.head} ({self.detail})" if self.detail else self.head, *(text for text, _ in self.cells)]


@dataclass(frozen=True)
class KindTable:
    """Headings with their terms, and rows. A term is empty where there is none."""

    name: str
    heads: Sequence[tuple[str, str]]
    rows: Sequence[KindRow]


@dataclass(frozen=True)
class Kinds:
    """The section."""

    title: str
    meaning: str
    results: KindTable
    shares: KindTable
    notes: Sequence[str]


def kinds_section(capacity: Capacity) -> Kinds | None:
    """Return the section; None where all users are of one kind."""
    kinds = capacity["kinds"]
    if not kinds:
        return None
    are_users = kinds_are_users(capacity)
    title = "By kind of user" if are_users else "By request name"
    meaning = _USERS.format(how=_judged_by(kinds)) if are_users else _NAMES
    if capacity["load"] == "rate":
        meaning = meaning.replace("number of users", "rate")
    return Kinds(
        title,
        meaning,
        _results(kinds, are_users=are_users, by_rate=capacity["load"] == "rate"),
        _shares(kinds),
        _notes(kinds),
    )


def _judged_by(kinds: Sequence[Mapping[str, Any]]) -> str:
    names = {str(kind["profile"]["name"]) for kind in kinds}
    return f"by the profile {names.pop()}" if len(names) == 1 else "by its own profile"


def _results(kinds: Sequence[Mapping[str, Any]], *, are_users: bool, by_rate: bool) -> KindTable:
    heads = (
        ("", "kind" if are_users else "name"),
        ("replies", "replies"),
        ("capacity", "served with up to"),
        ("interval", "95 % interval"),
        ("why", "first limit"),
    )
    users = "other users" if any(kind["fixed_users"] is not None for kind in kinds) else "users"
    of = "requests" if by_rate else users
    rows = [KindRow(str(kind["name"]), stated_users(kind, of) if are_users else "", _cells(kind)) for kind in kinds]
    return KindTable("Results by kind" if are_users else "Results by request name", heads, rows)


def stated_users(kind: Mapping[str, Any], of: str) -> str:
    """Return `80 % of the users, SLO chat`, `4 users, SLO batch`, `all other users, SLO chat`."""
    share, fixed = kind["share"], kind["fixed_users"]
    who = things(fixed, "user") if fixed is not None else ""
    if share:
        who = f"all {of}" if share == 1 else f"{formats.percent(share)} of the {of}"
    return ", ".join(filter(None, (who, f"SLO {kind['profile']['name']}")))


def _cells(kind: Mapping[str, Any]) -> list[tuple[str, str]]:
    interval = kind["interval"]
    shown_to_fail = kind["bracket"][1] is not None
    known = interval is not None and tuple(interval) != (0, None)
    return [
        (formats.count(kind["replies"]), ""),
        (proven_users(kind), ""),
        (interval_text(tuple(interval)) if known else formats.DASH, ""),
        (DIMENSION_LABELS[kind["breaks_first"]] if shown_to_fail and kind["breaks_first"] else formats.DASH, ""),
    ]


def proven_users(kind: Mapping[str, Any]) -> str:
    """Return `8 users, fails at 16`, `fails at 8`, `not proven`."""
    held, failed = kind["bracket"]
    served = kind["served_users"]
    parts = [f"{'about ' if served != held else ''}{things(served, 'user')}"] if held is not None else []
    parts += [f"fails at {failed:,}"] if failed is not None else []
    return ", ".join(parts) or ("not proven" if kind["replies"] else "not measured")


def _shares(kinds: Sequence[Mapping[str, Any]]) -> KindTable:
    found = {(kind["name"], level["users"]): level for kind in kinds for level in kind["levels"]}
    load = ("rate", RATE_UNIT) if any(isinstance(users, Rate) for _, users in found) else ("users", "users")
    heads = (load, *(("share", str(kind["name"])) for kind in kinds))
    rows = [
        KindRow(formats.count(users), "", [_share(found.get((kind["name"], users))) for kind in kinds])
        for users in sorted({users for _, users in found})
    ]
    return KindTable("Share of replies served", heads, rows)


def _share(level: Mapping[str, Any] | None) -> tuple[str, str]:
    if level is None:
        return formats.DASH, "no judged reply"
    low, high = (formats.percent(level[f"served_share_{end}"]) for end in ("low", "high"))
    replies = things(level["replies"], "reply", "replies")
    why = f"{STATE_WORDS[level['state']]}, 95 % interval {low} to {high}, {replies}"
    if isinstance(level["users"], Rate):
        return f"{STATE_SIGNS[level['state']]}\u00a0{formats.percent(level['served_share'])}", why
    why += f" of {things(level['users_of_kind'], 'user')}"
    users = things(level["users_of_kind"], "user")
    return f"{STATE_SIGNS[level['state']]}\u00a0{formats.percent(level['served_share'])} · {users}", why


def _notes(kinds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what users of one kind cost in users of another, and which kinds serve some of their users worse."""
    differ = [kind for kind in kinds if kind["groups"] is not None]
    alike = [f"Users of {kind['name']} are not served alike: {_worse(kind['groups'])}." for kind in differ]
    return [*cost_sentences(kinds), *alike]


def _worse(groups: Mapping[str, Any]) -> str:
    worse = groups["worse_users"]
    return f"with {things(groups['users'], 'user')} on, {worse:,} of this kind {'gets' if worse == 1 else 'get'} less"
