"""The verdict as a short table on the terminal; in colour only on a real terminal."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from probe_ext.compare.gate_tests import GateTest
from probe_ext.report.outputs.gate import Gate
from probe_ext.report.sections.optional.kinds import KindTable, kinds_section
from probe_ext.report.sections.page import Next
from probe_ext.report.wording.answer_context import kinds_are_users
from probe_ext.report.wording.level_names import Level, by_number, label, merged_visits
from probe_ext.report.wording.percentiles import figure, share_text
from probe_ext.report.wording.shared_sentences import STATE_WORDS, extra_sentences, split_command
from probe_ext.verdict.judge import NOTHING_GIVEN
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.results.team_size import Given

MAX_FINDINGS = 5
HELP = "help by symptom: docs/troubleshooting.md, a finding's meaning: docs/checks.md (`probe init DIR` copies both)"
_COLOURS = {"held": "green", "failed": "red", "unproven": "yellow"}
_HEADS = ("users", "served", "95 %", "broken", "judged", "total tok/s", "per reply", "TTFT p95", "silence", "KV", "")
_CUT_SHORT = {("ended", "unproven"), ("search", "unproven")}
"""Undecided findings that are shown: the run was cut short."""
_PIPE_COLUMNS = 120
"""Width where there is no terminal: enough for the table of levels."""


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        """Go on silently where nobody reads (`| head`): rich would exit with 1, the code of a missed gate."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def console_of(to: TextIO) -> Console:
    """Return the console on which results are printed."""
    return _Screen(file=to, highlight=False, soft_wrap=True, width=None if to.isatty() else _PIPE_COLUMNS)


def show(
    capacity: Mapping[str, Any],
    gate: Gate | None,
    page: Path,
    to: TextIO,
    given: Given = NOTHING_GIVEN,
    tests: Sequence[GateTest] = (),
    following: Next | None = None,
) -> None:
    """Print the levels, the findings, the gates, the answer, the next command and the path of the page."""
    console = console_of(to)
    if capacity["levels"]:
        console.print(_table(capacity))
        by_kind = kinds_section(capacity)
        if by_kind is None or not kinds_are_users(capacity):
            console.print(Text(f"SLO profile: {capacity['profile']['name']}"))
        if by_kind is not None:
            console.print(_kinds(by_kind.results))
    for line in _problems(capacity):
        console.print(Text(f"! {line}", style="yellow"))
    if capacity["verdict"] == "invalid":
        console.print(Text(HELP))
    for sentence in extra_sentences(capacity, given):
        console.print(Text("".join(split_command(sentence, capacity))))
    if gate:
        console.print(Text(gate.sentence, style="green" if gate.met else "red"))
    for test in tests:
        console.print(Text(test.sentence, style="green" if test.outcome == "passed" else "red"))
    console.print(Text(capacity["sentence"], style="bold"))
    if following:
        console.print(Text(f"{following.purpose}: {' '.join(following.command)}"))
    console.print(Text(f"report: {page}"))


def show_servers(servers: Sequence[tuple[str, str, Sequence[str]]], page: Path, to: TextIO) -> None:
    """Print the answer of each server of a run, with its gates, and the path of the overview."""
    console = console_of(to)
    for name, sentence, gates in servers:
        console.print(Text(f"{name}: ").append(sentence, style="bold"))
        for gate in gates:
            console.print(Text(f"  {gate}"))
    console.print(Text(f"report: {page}"))


def _problems(capacity: Mapping[str, Any]) -> list[str]:
    """Return the first failed checks, and what a run that was cut short left out."""
    shown = [f for f in capacity["findings"] if f["state"] == "fail" or (f["check"], f["state"]) in _CUT_SHORT]
    found = [f["why"] for f in sorted(shown, key=lambda f: f["check"] != "server_gone")]
    more = things(len(found) - MAX_FINDINGS, "more finding")
    return found[:MAX_FINDINGS] + ([f"and {more} on the page"] if len(found) > MAX_FINDINGS else [])


def _table(capacity: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    stream = capacity["load"] == "rate"
    for head in ("req/s", *_HEADS[1:8], "not sent", *_HEADS[9:]) if stream else _HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for visits in by_number(capacity["levels"]):
        level = merged_visits(visits)
        state = Text(STATE_WORDS[level["state"]], style=_COLOURS[level["state"]])
        if len(visits) == 1:
            table.add_row(label(level), *_results(level), *_figures(level, stream=stream), state)
            continue
        # A row has either what all visits together prove, or what one of them was like.
        table.add_row(label(level), *_results(level), *[""] * len(_figures(level, stream=stream)), state)
        for visit in visits:
            table.add_row(label(visit), *_own_shares(visit), *_figures(visit, stream=stream), "")
    return table


def _kinds(by_kind: KindTable) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, (_, head) in enumerate(by_kind.heads):
        table.add_column(head, justify="right" if place else "left", no_wrap=bool(place), overflow="fold")
    for row in by_kind.rows:
        table.add_row(*map(Text, row.texts))
    return table


def _results(level: Level) -> list[str]:
    low, high = (formats.percent(level[f"served_share_{end}"]).removesuffix(" %") for end in ("low", "high"))
    interval = formats.DASH if low == high == formats.DASH else f"{low}–{high}"
    served, broken = (share_text(level, grade, level[f"{grade}_share"]) for grade in ("served", "broken"))
    return [served, interval, broken, formats.count(level["replies_judged"])]


def _own_shares(visit: Level) -> list[str]:
    """Return a single visit's shares in the columns of results; it has no interval of its own."""
    judged = visit["replies_judged"]
    broken = visit["replies_broken"] / judged if judged else None
    served = share_text(visit, "served", visit["slo_attainment"])
    return [served, "", share_text(visit, "broken", broken), formats.count(judged)]


def _figures(level: Level, *, stream: bool) -> list[str]:
    speed = [formats.rate(level["total_tokens_per_s"]), formats.rate(figure(level, "decode_rate_p50"))]
    waits = [formats.seconds(figure(level, "ttft_p95")), formats.seconds(level["longest_gap_max"])]
    kv = formats.percent(level["kv_usage_max"])
    return [*speed, waits[0], formats.count(level["unsent"]) if stream else waits[1], kv]
