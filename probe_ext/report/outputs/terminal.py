"""The verdict as a short table on the terminal; colour only where there is one."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from probe_ext.report.charts.level_chart import legend
from probe_ext.report.outputs.gate import Gate
from probe_ext.report.sections.level_table import STATE_WORDS
from probe_ext.report.wording import shared_sentences
from probe_ext.report.wording.level_names import by_users, label
from probe_ext.verdict.values import formats
from probe_ext.verdict.values.plurals import things

_COLOURS = {"held": "green", "failed": "red", "unproven": "yellow"}
_FIGURES = ("tok/s", "each", "TTFT p95", "silence", "KV", "")
_CUT_SHORT = {("ended", "unproven"), ("search", "unproven")}
_MOST = 5
_PLAIN_WIDTH = 100
"""columns where there is no terminal"""


class _Screen(Console):
    """Where nobody reads any more (`| head`), the rest goes unsaid: the exit code stays the verdict's."""

    def on_broken_pipe(self) -> None:
        """Rich would end the process with code 1 here, which is a missed gate's."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def show(capacity: Mapping[str, Any], gate: Gate | None, page: Path, to: TextIO) -> None:
    """Print the levels, the gate, the sentence and where the page lies."""
    console = _Screen(file=to, highlight=False, soft_wrap=True, width=None if to.isatty() else _PLAIN_WIDTH)
    if capacity["levels"]:
        console.print(_table(capacity))
        console.print(Text(f"Judged by the profile {capacity['profile']['name']}."))
    for line in _amiss(capacity):
        console.print(Text(f"! {line}", style="yellow"))
    if cold := shared_sentences.cold_user(capacity["cold_user"]):
        console.print(Text(cold))
    if silent := shared_sentences.pauses(capacity["pauses"]):
        console.print(Text(silent))
    for said in shared_sentences.team(capacity):
        console.print(Text(said))
    console.print(Text(shared_sentences.bounds(capacity)))
    if gate:
        console.print(Text(gate.says, style="green" if gate.met else "red"))
    console.print(Text(capacity["sentence"], style="bold"))
    console.print(Text(f"report: {page}"))


def _amiss(capacity: Mapping[str, Any]) -> list[str]:
    """What failed, and what a run that was cut short left out; a few lines, the page has all."""
    found = [f["why"] for f in capacity["findings"] if f["state"] == "fail" or (f["check"], f["state"]) in _CUT_SHORT]
    more = things(len(found) - _MOST, "more finding")
    return found[:_MOST] + ([f"and {more} on the page"] if len(found) > _MOST else [])


def _table(capacity: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    shown = legend(capacity["levels"])
    for head in ("users", *shown, *_FIGURES):
        table.add_column(head, justify="right", no_wrap=True)
    for level in by_users(capacity["levels"]):
        state = level["state"]
        table.add_row(*_cells(level, shown), Text(STATE_WORDS[state], style=_COLOURS[state]))
    return table


def _cells(level: Mapping[str, Any], shown: Sequence[str]) -> list[str]:
    people = [formats.count(level[f"users_{state}"]) for state in shown]
    speed = [formats.rate(level["total_tokens_per_s"]), formats.rate(level["decode_rate_p50"])]
    waits = [formats.seconds(level["ttft_p95"]), formats.seconds(level["longest_gap_max"])]
    return [label(level), *people, *speed, *waits, formats.percent(level["kv_usage_max"])]
