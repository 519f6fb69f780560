"""The comparison for a terminal, and as `summary.md` for a pull request."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.table import Table
from rich.text import Text

from probe_ext.report.comparison.shown_rows import ShownRow, notes, set_up_facts, set_up_heads, shown_rows
from probe_ext.report.outputs.summary_and_junit import markdown
from probe_ext.report.outputs.terminal import console_of

_NAME_LETTERS = 16
"""of a set-up's name, at the head of a column: the time of a run directory"""
_COLOURS = {"better": "green", "worse": "red"}
_SIGNS = {"better": "✅", "worse": "❌", "cannot_tell": "❔", "no_verdict": "–"}
Json = Mapping[str, Any]


def show(comparison: Json, page: Path, to: TextIO) -> None:
    """Print what differs, the figures that are told apart, and the answer."""
    console = console_of(to)
    names = [set_up["name"] for set_up in comparison["set_ups"]]
    if comparison["meant"]:
        console.print(_aspects("differs", names, comparison["meant"]))
    if comparison["must_be_equal"]:
        console.print(_aspects("must not differ", names, comparison["must_be_equal"]))
    console.print(_figures(names, _decided(comparison)))
    for line in notes(comparison):
        console.print(Text(line))
    for one in comparison["must_be_equal"]:
        console.print(Text(f"! {one['name']}: {one['why']}", style="yellow"))
    console.print(Text(comparison["sentence"], style="bold"))
    console.print(Text(f"report: {page}"))


def _decided(comparison: Json) -> list[ShownRow]:
    """Return the rows about people, and all others that are better or worse."""
    pairs = zip(comparison["rows"], shown_rows(comparison), strict=True)
    return [row for raw, row in pairs if raw["quantity"] == "capacity" or raw["outcome"] in {"better", "worse"}]


def _aspects(title: str, names: Sequence[str], aspects: Sequence[Json]) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in (title, *names):
        table.add_column(head, overflow="fold")
    for aspect in aspects:
        table.add_row(aspect["name"], *map(str, aspect["values"]))
    return table


def short_names(names: Sequence[str]) -> list[str]:
    """Return the names of set-ups as heads of columns: all cut at the same place, where they still differ."""
    if max(map(len, names)) <= _NAME_LETTERS + 1:
        return list(names)
    differ = (place for place, letters in enumerate(zip(*names, strict=False)) if len({*letters}) > 1)
    common = next(differ, min(map(len, names)))
    for start in (0, max(0, common - _NAME_LETTERS // 2)):
        short = [_cut(name, start) for name in names]
        if len(set(short)) == len(set(names)):
            return short
    return list(names)


def _cut(name: str, start: int) -> str:
    end = start + _NAME_LETTERS
    return f"{'…' if start else ''}{name[start:end]}{'…' if len(name) > end else ''}"


def _figures(names: Sequence[str], rows: Sequence[ShownRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    pair, all_names = len(names) == 2, names
    names = short_names(all_names)
    shortened = dict(zip(all_names, names, strict=True))
    heads = (
        "figure",
        "users",
        *(() if pair else ("set-up",)),
        names[0],
        names[1] if pair else "this set-up",
        "change",
        "limits",
    )
    for head in heads:
        width = len(head) if head in names else None
        table.add_column(head, justify="left" if head == "figure" else "right", min_width=width)
    table.add_column("")
    for row in rows:
        cells = (row.name, row.users, *(() if pair else (shortened[row.set_up],)), row.baseline, row.value, row.change)
        result = row.outcome_text + (f" ({row.why})" if row.why else "")
        table.add_row(*cells, row.interval, Text(result, style=_COLOURS.get(row.outcome, "yellow")))
    return table


def summary(comparison: Json) -> str:
    """Return Markdown: the answer, what differs, the figures."""
    names = [set_up["name"] for set_up in comparison["set_ups"]]
    capacity = [row["outcome"] for row in comparison["rows"] if row["quantity"] == "capacity"]
    sign = _SIGNS[capacity[0]] if capacity else "–"
    lines = [f"### {sign} {markdown(comparison['sentence'])}", ""]
    for title, aspects in (("Differs", comparison["meant"]), ("Must not differ", comparison["must_be_equal"])):
        if aspects:
            lines += [*_table([title, *names], [[one["name"], *one["values"]] for one in aspects]), ""]
    lines += _table(set_up_heads(comparison), set_up_facts(comparison))
    rows = shown_rows(comparison)
    cells = [
        [row.name, row.users, row.set_up, row.baseline, row.value, row.change, row.interval, _SIGNS[row.outcome]
         + f" {row.outcome_text}" + (f": {row.why}" if row.why else "")]
        for row in rows
    ]  # fmt: skip
    heads = ["figure", "users", "set-up", names[0], "this set-up", "change", "limits of the change", "result"]
    lines += ["", *_table(heads, cells), "", *(f"- {markdown(note)}" for note in notes(comparison))]
    return "\n".join(lines).rstrip() + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    ruled = "|".join("---" for _ in heads)
    return [f"|{'|'.join(map(markdown, heads))}|", f"|{ruled}|", *(f"|{'|'.join(map(markdown, row))}|" for row in rows)]
