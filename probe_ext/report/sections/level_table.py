"""Tables of levels, results and figures: columns, cells, and the reason where a figure is missing."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.report.charts.level_chart import fitted_share
from probe_ext.report.wording.answer_context import worse_group
from probe_ext.report.wording.level_names import VISITS, by_number, by_users, label, merged_visits, order_note
from probe_ext.report.wording.percentiles import share_text, why_not_shown
from probe_ext.report.wording.shared_sentences import STATE_SIGNS, STATE_WORDS
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import capitalised, is_or_are, listed, things, was_or_were
from probe_ext.verdict.wording.unproven_level import MORE_REPLIES_TELL, reason_in_words, what_settles

DIMENSION_LABELS = {"first_word": "first word", "typing": "typing", "silence": "silence", "answer": "answers"}


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
    users: int


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
    ("server_ttft_p50", Column("TTFT", "at server, p50", "server_ttft"), formats.seconds),
    ("way_p50", Column("TTFT", "way, p50", "way"), formats.seconds),
    ("longest_gap_max", Column("longest silence", "", "silence"), formats.seconds),
    ("kv_usage_max", Column("server", "KV-cache peak", "kv"), formats.percent),
    ("preemptions", Column("server", "preempted", "preemptions"), formats.count),
    ("waiting_max", Column("server", "waiting peak", "waiting"), formats.count),
)
_SERVED: tuple[str, Column, _Format] = (
    "slo_attainment",
    Column("served", "in this visit", "slo_attainment"),
    formats.percent,
)
"""Shown where a number of users was visited more than once: visits may differ."""
_RARE = {"server_ttft_p50", "way_p50"}
"""Shown only where a server sends them."""
_SERVER_FIGURES = {"kv_usage_max", "preemptions", "waiting_max"}
_LEAVE_OUT = {"client_faults", "equal_failures", "api_key", "server_gone"}
"""Checks that leave failed replies out, as their reason is not the server's load."""
_USERS = Column("users", "", "users")
_RATE = Column("rate", "requests/s", "rate")
_STREAM: tuple[tuple[str, Column, _Format], ...] = (
    ("sent_rate", Column("stream", "sent, requests/s", "sent_rate"), formats.decimals),
    ("delayed", Column("stream", "delayed", "delayed"), formats.count),
    ("unsent", Column("stream", "not sent", "unsent"), formats.count),
)
"""Figures of an open stream."""
_RESULTS = (
    Column("result", "", "state"),
    Column("served", "share", "share"),
    Column("served", "95 % interval", "share_interval"),
    Column("served", "fit", "fit"),
    Column("broken", "share", "broken"),
    Column("broken", "at most", "broken_bound"),
    Column("replies", "judged", "replies"),
    Column("what costs replies", "", "why"),
)


def results_table(levels: Sequence[Mapping[str, Any]]) -> Table:
    """Return what is proven of each number of users, all its visits together."""
    stream = _STREAM if by_rate(levels) else ()
    rows = [
        Row(label(level), [*_results(level), *_stream(level, stream)], str(level["state"]), level["users"])
        for level in map(merged_visits, by_number(levels))
    ]
    return _table((_head(levels), *_RESULTS, *(column for _, column, _ in stream)), rows)


def _stream(level: Mapping[str, Any], stream: Sequence[tuple[str, Column, _Format]]) -> list[Cell]:
    return [Cell(text(level[key])) for key, _, text in stream]


def by_rate(levels: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the levels are rates of an open stream."""
    return any(level["rate"] is not None for level in levels)


def _head(levels: Sequence[Mapping[str, Any]]) -> Column:
    return _RATE if by_rate(levels) else _USERS


def figures_table(levels: Sequence[Mapping[str, Any]], no_server: str) -> Table:
    """Return the figures of each visit; `no_server` is the reason if the server's metrics are missing."""
    visits = by_users(levels)
    figures = [figure for figure in _FIGURES if figure[0] not in _RARE or _is_known(figure[0], levels)]
    if any(visit[VISITS] > 1 for visit in visits):
        figures.insert(0, _SERVED)
    rows = [
        Row(
            label(visit),
            [_figure(visit, key, text, no_server) for key, _, text in figures],
            str(visit["state"]),
            visit["users"],
        )
        for visit in visits
    ]
    return _table((_head(levels), *(column for _, column, _ in figures)), rows)


def _is_known(key: str, levels: Sequence[Mapping[str, Any]]) -> bool:
    return any(level[key] is not None for level in levels)


def _table(columns: Sequence[Column], rows: Sequence[Row]) -> Table:
    groups = itertools.groupby(columns, key=lambda column: column.head)
    return Table(columns, rows, [Heading(head, list(group)) for head, group in groups])


def _results(level: Mapping[str, Any]) -> list[Cell]:
    return [_state(level), *_shares(level), _replies(level), _costs(level)]


def _shares(level: Mapping[str, Any]) -> list[Cell]:
    if level["served_share"] is None:
        return [Cell(formats.DASH, "no judged reply", "none")] * 5
    low, high, fit = level["served_share_low"], level["served_share_high"], fitted_share(level)
    return [
        Cell(share_text(level, "served", level["served_share"])),
        Cell(f"{formats.percent(low)} to {formats.percent(high)}"),
        Cell(formats.percent(fit)) if fit is not None else Cell(formats.DASH, "left out of the fit", "none"),
        Cell(share_text(level, "broken", level["broken_share"])),
        Cell(formats.percent(level["broken_share_high"])),
    ]


def _figure(level: Mapping[str, Any], key: str, text: _Format, no_server: str) -> Cell:
    value = level[key]
    if why := why_not_shown(key, level):
        return Cell(formats.DASH, why, "none")
    if value is None:
        server_reason = no_server or "not reported by the server"
        return Cell(formats.DASH, server_reason if key in _SERVER_FIGURES else "no reply of this level has it", "none")
    if key == _SERVED[0]:
        return Cell(share_text(level, "served", value))
    unsure = level["preemptions_unsure"] if key == "preemptions" else None
    if unsure:
        return Cell(text(value), f"{unsure:,} of them may belong to another level", below=f"{unsure:,} uncertain")
    return Cell(text(value))


def _replies(level: Mapping[str, Any]) -> Cell:
    still_open = level["replies_open"]
    counted = f"{formats.count(still_open)} of them open, counted as served" if still_open else ""
    return Cell(formats.count(level["replies_judged"]), counted)


def _state(level: Mapping[str, Any]) -> Cell:
    """Return the state; of an unproven one, why and how many more replies would settle it."""
    state = str(level["state"])
    below = ""
    if state == "unproven":
        more = f"; {what_settles(level['replies_needed'])}" if {*level["reasons"]} <= MORE_REPLIES_TELL else ""
        below = reason_in_words(level["reasons"], level["served_share"], level["broken_share"]) + more
    return Cell(f"{STATE_SIGNS[state]}\u00a0{STATE_WORDS[state]}", worse_group(level), "state", below)


def _costs(level: Mapping[str, Any]) -> Cell:
    costs = listed([DIMENSION_LABELS[dimension] for dimension in level["why"]])
    return Cell(costs, kind="words") if costs else Cell(formats.DASH, "every judged reply was served", "none words")


def notes(capacity: Mapping[str, Any]) -> list[str]:
    """Return the notes below the table."""
    lines = []
    if any(level["band"] for level in capacity["levels"]):
        lines.append("The number of users kept changing: each row is a band of the ramp, of nearly constant users.")
    if any(len(visits) > 1 for visits in by_number(capacity["levels"])):
        what = "rate" if by_rate(capacity["levels"]) else "number of users"
        lines.append(f"Results are of all visits to a {what} together, and the figures below them of each visit alone.")
    lines += [note] if (note := order_note(capacity["levels"])) else []
    lines += [note] if (note := _which_replies(capacity)) else []
    return lines + _of_reasoning(capacity)


def _which_replies(capacity: Mapping[str, Any]) -> str:
    """Say of which replies the rows are, and where all others of the run are: the counts add up to all of them."""
    judged, in_levels = (sum(level[key] for level in capacity["levels"]) for key in ("replies_judged", "replies"))
    total, outside, dropped = capacity["replies"], capacity["replies_outside"], in_levels - judged
    if not dropped and not outside:
        return f"All {things(total, 'reply', 'replies')} of the run are judged." if total > 1 else ""
    others = []
    if dropped:
        others.append(f"{formats.count(dropped)} {was_or_were(dropped)} {_why_dropped(capacity)}")
    if outside:
        belongs = "belongs" if outside == 1 else "belong"
        what = "due while the rate" if by_rate(capacity["levels"]) else "sent while the number of users"
        others.append(f"{formats.count(outside)} {belongs} to no level: {what} changed or settled, or as warm-up")
    of = f"{formats.count(judged)} of the run's {things(total, 'reply', 'replies')} {is_or_are(judged)}"
    return f"{of} judged, and all shares and figures of replies are of these. {capitalised('; '.join(others))}."


def _why_dropped(capacity: Mapping[str, Any]) -> str:
    """Say why replies that were sent in a level are not judged."""
    first_word = capacity["profile"]["first_word"]
    failed = any(one["check"] in _LEAVE_OUT and one["state"] == "fail" for one in capacity["findings"])
    late = (
        f"sent in the last {formats.bound(first_word['served'])} of a level, too late to be judged in it"
        if first_word
        else ""
    )
    return " or ".join([*([late] if late else []), *(["left out by a check below"] if failed or not late else [])])


def _of_reasoning(capacity: Mapping[str, Any]) -> list[str]:
    """Return what the answer would be with and without reasoning; nothing about a model that shows none."""
    shown, hidden = (_served(capacity["reasoning"][mode]["served_users"]) for mode in ("shown", "hidden"))
    if shown != hidden:
        return [f"If the model's reasoning counts as text: {shown}; if only visible text counts: {hidden}."]
    reasons = any(level["ttft_visible_p95"] != level["ttft_p95"] for level in capacity["levels"])
    return [f"Whether or not the model's reasoning counts as text: {shown}."] if reasons else []


def _served(users: int | None) -> str:
    return "no capacity proven" if users is None else f"{things(users, 'user')} served"
