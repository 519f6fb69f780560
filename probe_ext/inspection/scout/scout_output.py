"""What is printed: the configurations side by side, the leaderboard, and plain lines where there is no terminal."""

import json
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from probe_ext.inspection.scout.board_view import BoardRow, Remark, TimeOf, document, notes
from probe_ext.inspection.scout.leaderboard import Row, configuration
from probe_ext.measure.safe_text import all_printable, printable
from probe_ext.verdict.phrasing import formats

_PIPE_COLUMNS = 120
_COLOURS = {
    "cheat": "bold red",
    "count": "yellow",
    "outage": "yellow",
    "error": "red",
    "security": "yellow",
    "note": "dim",
}
_CONFIGURATION = (
    ("kind", "engine"),
    ("version", "version"),
    ("model", "model"),
    ("quantisation", "quantisation, by the model's name"),
    ("context_tokens", "context, tokens"),
    ("kv_blocks", "KV cache, blocks"),
    ("block_size", "block size, tokens"),
    ("kv_tokens", "KV cache, tokens"),
    ("kv_cache_dtype", "KV cache, precision"),
    ("prefix_caching", "prefix caching"),
    ("gpu_memory_utilization", "GPU memory share"),
    ("slots", "slots"),
    ("metrics", "/metrics"),
)
_BEGINNING = 12
"""Characters of a remark that tell it from others."""
_MAX_BESIDE = 4
"""Servers side by side in one table."""

_STATE_COLOURS = {"DOWN": "red", "cheats?": "bold red"}


def console(to: TextIO) -> Console:
    """Return a console for a terminal or a pipe."""
    return Console(file=to, highlight=False, width=None if to.isatty() else _PIPE_COLUMNS)


def as_json(rows: Sequence[Row], time_of: TimeOf, window: float) -> str:
    """Return the JSON document as text."""
    return json.dumps(all_printable(document(rows, time_of, window)), indent=1, ensure_ascii=False) + "\n"


def configurations(rows: Sequence[Row]) -> RenderableType:
    """Return what the servers say about themselves, side by side."""
    tables = [_beside(rows[at : at + _MAX_BESIDE]) for at in range(0, len(rows), _MAX_BESIDE)]
    return Group(*tables)


def _beside(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for row in rows:
        table.add_column(printable(row.state.url), overflow="fold")
    found = [configuration(row.state.server) for row in rows]
    for key, label in _CONFIGURATION:
        if any(config[key] is not None for config in found):
            table.add_row(label, *(_value(config[key]) for config in found))
    return table


def _value(value: Any) -> Text:
    if value is None:
        return Text(formats.DASH, style="dim")
    if isinstance(value, bool):
        return Text("on" if value else "off")
    return Text(f"{value:,}" if isinstance(value, int) else printable(str(value)))


def leaderboard(rows: Sequence[BoardRow], caption: str) -> RenderableType:
    """Return the board as a table, with the remarks below it."""
    table = Table(box=None, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("server", overflow="fold")
    table.add_column("model", overflow="fold")
    with_p95 = any(row.ttft_p95 != formats.DASH for row in rows)  # of one probe there is none
    for head in ("RPS", "tok/s", "TTFT p50", *(["p95"] if with_p95 else []), "errors"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        ttft = (row.ttft_p50, row.ttft_p95) if with_p95 else (row.ttft_p50,)
        table.add_row(row.rank, row.url, row.model, row.rps, row.tokens_per_s, *ttft, row.errors, _state(row))
    lines = [remark_line(row.url, remark) for row in rows for remark in row.remarks]
    return Group(table, *lines, Text(caption, style="dim"))


def _state(row: BoardRow) -> Text:
    return Text(row.state, style=_STATE_COLOURS.get(row.state, ""))


def remark_line(url: str, remark: Remark) -> Text:
    """Return one remark with the server that it is about."""
    return Text.assemble((f"{url}: ", "bold"), (printable(remark.text), _COLOURS[remark.kind]))


def remark_lines(rows: Sequence[Row]) -> list[Text]:
    """Return security findings and notes of all servers."""
    return [remark_line(printable(row.state.url), remark) for row in rows for remark in notes(row.state)]


class PlainLines:
    """One line for each probe; a remark is printed when it is new."""

    def __init__(self) -> None:
        self._shown: dict[str, set[str]] = {}

    def line(self, time: str, row: BoardRow) -> str:
        """Return the line of a server's newest probe."""
        state = "" if row.up is None else "up" if row.up else "DOWN"
        p95 = "" if row.ttft_p95 == formats.DASH else f" p95 {row.ttft_p95}"
        figures = f"{row.rps} RPS · {row.tokens_per_s} tok/s · TTFT p50 {row.ttft_p50}{p95}"
        before = self._shown.get(row.url, set())
        # By its beginning: the figures in it change with every probe.
        remarks = {remark.text[:_BEGINNING]: remark.text for remark in row.remarks}
        rest = "".join(f" · {text}" for beginning, text in remarks.items() if beginning not in before)
        self._shown[row.url] = set(remarks)
        return f"{time}  {row.url}  {state} · rank {row.rank} · {figures} · errors {row.errors}{rest}"
