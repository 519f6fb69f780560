"""Table of levels: its columns, cells, and the reason where a figure is missing."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.report.charts.level_chart import legend
from probe_ext.report.wording.level_names import by_users, label, order_note
from probe_ext.report.wording.shared_sentences import STATE_WORDS, USER_STATES
from probe_ext.verdict.values import formats
from probe_ext.verdict.values.plurals import listed, things

DIMENSION_LABELS = {"first_word": "first word", "typing": "typing", "silence": "silence", "answer": "answers"}
STATE_SIGNS = {"held": "✓", "failed": "✗", "unproven": "?"}


@dataclass(frozen=True)
class Cell:
    """A figure, or a dash with the reason for it."""

    text: str
    why: str = ""
    kind: str = ""
    below: str = ""
    """second line in small print"""


@dataclass(frozen=True)
class Column:
    """A column with the term that defines it."""

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
    """Common heading of several columns; for a single column its own, over both lines."""

    text: str
    columns: Sequence[Column]


@dataclass(frozen=True)
class Table:
    """Headings and rows; the first column is that of the row heads."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    headings: Sequence[Heading]


_Format = Callable[[Any], str]
_FIGURES: tuple[tuple[str, Column, _Format], ...] = (
    ("total_tokens_per_s", Column("tokens/s", "total", "tokens_per_s"), formats.rate),
    ("decode_rate_p50", Column("tokens/s", "per reply, p50", "typing"), formats.rate),
    ("ttft_p50", Column("TTFT", "p50", "ttft"), formats.seconds),
    ("ttft_p95", Column("TTFT", "p95", "ttft"), formats.seconds),
    ("ttft_p99", Column("TTFT", "p99", "ttft"), formats.seconds),
    ("longest_gap_max", Column("silence", "longest", "silence"), formats.seconds),
    ("kv_usage_max", Column("server", "KV-cache peak", "kv"), formats.percent),
    ("preemptions", Column("server", "preempted", "preemptions"), formats.count),
    ("waiting_max", Column("server", "waiting peak", "waiting"), formats.count),
)
_SERVER_FIGURES = {"kv_usage_max", "preemptions", "waiting_max"}


def table(levels: Sequence[Mapping[str, Any]], no_server: str) -> Table:
    """Return all levels by rising users; `no_server` is the reason if the server's metrics are missing."""
    shown = legend(levels)
    columns = [Column("level", "", "users")]
    columns.append(Column("result", "", "state"))
    columns += [Column("users", USER_STATES[state], state) for state in shown]
    columns += [column for _, column, _ in _FIGURES]
    columns.append(Column("replies", "", "replies"))
    headings = [
        Heading(head, list(group)) for head, group in itertools.groupby(columns, key=lambda column: column.head)
    ]
    return Table(columns, [_row(level, shown, no_server) for level in by_users(levels)], headings)


def _row(level: Mapping[str, Any], shown: Sequence[str], no_server: str) -> Row:
    cells = [_state(level)]
    cells += [_user_count(level.get(f"users_{state}")) for state in shown]
    cells += [_figure(level, key, text, no_server) for key, _, text in _FIGURES]
    cells.append(_replies(level))
    return Row(label(level), cells, str(level["state"]))


def _user_count(number: int | None) -> Cell:
    return Cell(formats.count(number), "" if number is not None else "not known", "" if number else "none")


def _figure(level: Mapping[str, Any], key: str, text: _Format, no_server: str) -> Cell:
    value, unsure = level.get(key), level.get("preemptions_unsure") if key == "preemptions" else None
    if value is not None and unsure:
        return Cell(text(value), f"{unsure:,} of them may belong to another level", below=f"{unsure:,} uncertain")
    if value is not None:
        return Cell(text(value))
    server_reason = no_server or "not reported by the server"
    return Cell(formats.DASH, server_reason if key in _SERVER_FIGURES else "no reply of this level has it", "none")


def _replies(level: Mapping[str, Any]) -> Cell:
    still_open = level.get("replies_open")
    return Cell(
        formats.count(level.get("replies")),
        f"{formats.count(still_open)} of them open" if still_open else "",
    )


def _state(level: Mapping[str, Any]) -> Cell:
    """Return the state, with the failing dimensions, or what an unproven level still needs."""
    failing = listed([DIMENSION_LABELS.get(dimension, dimension) for dimension in level["why"]])
    needed = level.get("replies_needed")
    settles = f"about {formats.count(needed)} more replies would settle it" if needed else ""
    state = str(level["state"])
    seems = {"held": "seems to hold", "failed": f"seems to fail: {failing}"}.get(level["appears"], "")
    below = seems if level["band"] else {"failed": failing, "unproven": settles}.get(state, "")
    return Cell(f"{STATE_SIGNS[state]}\u00a0{STATE_WORDS[state]}", "", "state", below)


def notes(capacity: Mapping[str, Any]) -> list[str]:
    """Return the notes below the table."""
    lines = []
    if any(level.get("band") for level in capacity["levels"]):
        lines.append(
            "The number of users kept changing: these are bands of a ramp, which suggest a result but prove nothing."
        )
    lines += [note] if (note := order_note(capacity["levels"])) else []
    outside = capacity["replies_outside"]
    if outside:
        share = f"{formats.count(outside)} of {things(capacity['replies'], 'reply', 'replies')}"
        are = "belongs" if outside == 1 else "belong"
        lines.append(f"{share} {are} to no level: warm-up, or sent while the number of users changed or settled.")
    shown, hidden = (_served(capacity["reasoning"][mode]["served_users"]) for mode in ("shown", "hidden"))
    if shown == hidden:
        return [*lines, f"Whether or not the model's reasoning counts as text: {shown}."]
    return [*lines, f"If the model's reasoning counts as text: {shown}; if only visible text counts: {hidden}."]


def _served(users: int | None) -> str:
    return "nothing proven" if users is None else f"{things(users, 'user')} served"
