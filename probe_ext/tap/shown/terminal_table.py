"""A recording on the terminal: live while it goes on, and once at its end."""

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from probe_ext.tap.shown.recording_view import Distribution, RecordingView

_PIPE_COLUMNS = 120


def console(to: TextIO) -> Console:
    """Return a console for a terminal or a pipe."""
    return Console(file=to, highlight=False, width=None if to.isatty() else _PIPE_COLUMNS)


def table(view: RecordingView) -> RenderableType:
    """Return everything that fits onto a screen."""
    figures = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(4):
        figures.add_column()
    pairs = list(view.figures)
    for left, right in zip(pairs[::2], [*pairs[1::2], ("", "")], strict=False):
        figures.add_row(left[0], Text(left[1], style="bold"), right[0], Text(right[1], style="bold"))
    outcomes = Text("outcomes: " + ", ".join(f"{name} {number}" for name, number, _ in view.counts[-1].rows))
    parts: list[RenderableType] = [Text(view.sentence, style="bold"), figures, _distributions(view), outcomes]
    for each in view.implications:
        parts.append(Text.assemble((f"{each.title}. ", "yellow" if each.pays else ""), each.why))
        if each.advice:
            parts.append(Text(f"  {each.advice}"))
    return Group(*parts, *(Text(note, style="dim") for note in view.notes))


def fit_table(rows: Sequence[tuple[str, ...]]) -> RenderableType:
    """Return how well the distributions of a workload fit what was recorded."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("kind")
    shown.add_column("")
    for head in ("recorded", "mean", "p50", "p95"):
        shown.add_column(head, justify="right", no_wrap=True)
    shown.add_column("form")
    shown.add_column("KS distance", justify="right")
    for row in rows:
        shown.add_row(*row)
    return shown


def _distributions(view: RecordingView) -> Table:
    shown = Table(box=None, pad_edge=False)
    shown.add_column("")
    for head in ("known of", "mean", "p50", "p95", "p99", "largest"):
        shown.add_column(head, justify="right", no_wrap=True)
    for row in (*view.lengths, *view.times):
        if row.number != "0":
            shown.add_row(*_cells(row))
    return shown


def _cells(row: Distribution) -> tuple[str, ...]:
    return (row.name, row.number, row.mean, row.p50, row.p95, row.p99, row.largest)
