"""The table of levels: which columns, what each cell says, and why a figure is missing."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.report.charts.level_chart import legend
from probe_ext.report.wording.level_names import by_users, label, order
from probe_ext.verdict.values import formats
from probe_ext.verdict.values.plurals import listed, things

STATE_WORDS = {"held": "holds", "failed": "fails", "unproven": "unproven"}
SHORT = {"first_word": "first word", "typing": "typing", "silence": "silence", "answer": "answers"}
"""what cost people, in a word or two"""
STATE_SIGNS = {"held": "✓", "failed": "✗", "unproven": "?"}


@dataclass(frozen=True)
class Cell:
    """A figure, or a dash with the reason for it."""

    text: str
    why: str = ""
    kind: str = ""
    below: str = ""
    """a second line, in small"""


@dataclass(frozen=True)
class Column:
    """A heading, with the term that defines it."""

    head: str
    unit: str
    term: str


@dataclass(frozen=True)
class Row:
    """One level."""

    head: str
    cells: Sequence[Cell]
    state: str


@dataclass(frozen=True)
class Heading:
    """What several columns share; of a column that shares nothing, its own heading over both lines."""

    text: str
    columns: Sequence[Column]


@dataclass(frozen=True)
class Table:
    """Headings and rows; the first heading is of the row heads."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    headings: Sequence[Heading]


_Say = Callable[[Any], str]
_FIGURES: tuple[tuple[str, Column, _Say], ...] = (
    ("total_tokens_per_s", Column("tokens/s", "in all", "tokens_per_s"), formats.rate),
    ("decode_rate_p50", Column("tokens/s", "each, p50", "typing"), formats.rate),
    ("ttft_p50", Column("first word", "p50", "ttft"), formats.seconds),
    ("ttft_p95", Column("first word", "p95", "ttft"), formats.seconds),
    ("ttft_p99", Column("first word", "p99", "ttft"), formats.seconds),
    ("longest_gap_max", Column("silence", "longest", "silence"), formats.seconds),
    ("kv_usage_max", Column("server", "KV cache peak", "kv"), formats.percent),
    ("preemptions", Column("server", "preempted", "preemptions"), formats.count),
    ("waiting_max", Column("server", "waiting peak", "waiting"), formats.count),
)
_OF_THE_SERVER = {"kv_usage_max", "preemptions", "waiting_max"}


def table(levels: Sequence[Mapping[str, Any]], no_server: str) -> Table:
    """All levels, by rising users; `no_server` says why the server's own figures are missing."""
    shown = legend(levels)
    columns = [Column("users", "", "users")]
    columns.append(Column("result", "", "state"))
    columns += [Column("people", state, state) for state in shown]
    columns += [column for _, column, _ in _FIGURES]
    columns.append(Column("replies", "", "replies"))
    headings = [
        Heading(head, list(group)) for head, group in itertools.groupby(columns, key=lambda column: column.head)
    ]
    return Table(columns, [_row(level, shown, no_server) for level in by_users(levels)], headings)


def _row(level: Mapping[str, Any], shown: Sequence[str], no_server: str) -> Row:
    cells = [_state(level)]
    cells += [_people(level.get(f"users_{state}")) for state in shown]
    cells += [_figure(level, key, say, no_server) for key, _, say in _FIGURES]
    cells.append(_replies(level))
    return Row(label(level), cells, str(level["state"]))


def _people(number: int | None) -> Cell:
    return Cell(formats.count(number), "" if number is not None else "not known", "" if number else "none")


def _figure(level: Mapping[str, Any], key: str, say: _Say, no_server: str) -> Cell:
    value, unsure = level.get(key), level.get("preemptions_unsure") if key == "preemptions" else None
    if value is not None and unsure:
        return Cell(say(value), f"{unsure:,} of them may belong to another level", below=f"{unsure:,} unsure")
    if value is not None:
        return Cell(say(value))
    of_server = no_server or "the server did not tell it"
    return Cell(formats.DASH, of_server if key in _OF_THE_SERVER else "no reply of this level has it", "none")


def _replies(level: Mapping[str, Any]) -> Cell:
    still_open = level.get("replies_open")
    return Cell(
        formats.count(level.get("replies")),
        f"{formats.count(still_open)} of them open" if still_open else "",
    )


def _state(level: Mapping[str, Any]) -> Cell:
    """The state, with what cost people here, and what an unproven level would still need."""
    costs = listed([SHORT.get(dimension, dimension) for dimension in level["why"]])
    needed = level.get("replies_needed")
    settles = f"about {formats.count(needed)} more replies would settle it" if needed else ""
    state = str(level["state"])
    seems = {"held": "seems to hold", "failed": f"seems to fail: {costs}"}.get(level["appears"], "")
    below = seems if level["band"] else {"failed": costs, "unproven": settles}.get(state, "")
    return Cell(f"{STATE_SIGNS[state]}\u00a0{STATE_WORDS[state]}", "", "state", below)


def notes(capacity: Mapping[str, Any]) -> list[str]:
    """What stands below the table."""
    said = []
    if any(level.get("band") for level in capacity["levels"]):
        said.append(
            "The number of users never stood still: these are bands of a climb; they suggest and prove nothing."
        )
    said += [to_and_fro] if (to_and_fro := order(capacity["levels"])) else []
    outside = capacity["replies_outside"]
    if outside:
        share = f"{formats.count(outside)} of {formats.count(capacity['replies'])} replies"
        said.append(f"{share} are in no level: sent to warm up, or while the number of users changed or settled.")
    shown, hidden = (_served(capacity["reasoning"][mode]["served_users"]) for mode in ("shown", "hidden"))
    if shown == hidden:
        return [*said, f"With the model's thinking taken for text, or by visible text alone: {shown}, either way."]
    return [*said, f"With the model's thinking taken for text: {shown}; by visible text alone: {hidden}."]


def _served(users: int | None) -> str:
    return "nothing is proven" if users is None else f"{things(users, 'user')} served"
