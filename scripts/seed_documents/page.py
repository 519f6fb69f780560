"""The page of all five texts: a table of each, what the model does not follow, where the texts disagree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.seed_documents.cells import Cell
from scripts.seeds.compare import Compared

_HEAD, _CONTRADICTIONS = (
    Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.md", "contradictions.md")
)
_TITLES = {
    "001": "001: one request after another, or together",
    "002": "002: a contest between servers",
    "003": "003: a card for coding",
    "004": "004: a server that slows down",
}


@dataclass(frozen=True)
class Row:
    """A cell with our figure."""

    cell: Cell
    measured: float | None

    @property
    def state(self) -> str:
        """`within`, `outside`, or `none` where nothing of ours corresponds to it."""
        if self.measured is None:
            return "none"
        return "within" if self.cell.within(self.measured) else "outside"


def page(cells: Sequence[Cell], ours: Mapping[str, float | None], first: Sequence[Compared]) -> str:
    """Return the page as Markdown. `first`: the figures of the first text."""
    rows = beside(cells, ours)
    texts = list(dict.fromkeys(row.cell.text for row in rows))
    sections = [_section(text, [row for row in rows if row.cell.text == text]) for text in texts]
    return "\n".join([_HEAD.format(summary=_summary(rows, texts, first)), *sections, _CONTRADICTIONS])


def beside(cells: Sequence[Cell], ours: Mapping[str, float | None]) -> list[Row]:
    """Return all cells with our figures. KeyError for a figure that was not measured."""
    return [Row(cell, ours[cell.ours] if cell.ours else None) for cell in cells]


def _summary(rows: Sequence[Row], texts: Sequence[str], first: Sequence[Compared]) -> str:
    lines = [
        "| text | figures | fitted or set | … within tolerance | predicted | … within tolerance | not simulated |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    chosen, free = [c for c in first if c.fitted], [c for c in first if not c.fitted]
    counts = [len(first), len(chosen), sum(c.within for c in chosen), len(free), sum(c.within for c in free), 0]
    lines.append(_line("000", counts))
    for text in texts:
        own = [row for row in rows if row.cell.text == text]
        made = [row for row in own if row.state != "none"]
        chosen_rows = [row for row in made if row.cell.kind.startswith(("fitted", "set"))]
        free_rows = [row for row in made if row not in chosen_rows]
        lines.append(
            _line(
                text,
                [
                    len(own),
                    len(chosen_rows),
                    sum(row.state == "within" for row in chosen_rows),
                    len(free_rows),
                    sum(row.state == "within" for row in free_rows),
                    len(own) - len(made),
                ],
            )
        )
    return "\n".join(lines)


def _line(text: str, counts: Sequence[int]) -> str:
    return f"| {text} | {' | '.join(map(str, counts))} |"


def _section(text: str, rows: Sequence[Row]) -> str:
    lines = [
        f"## {_TITLES[text]}",
        "",
        "| figure | text | here | deviation | | made by |",
        "| --- | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        cell = row.cell
        kind = cell.kind if row.state == "within" else f"**outside** ({cell.kind})"
        cells = (
            cell.what, _published(cell), "–" if row.measured is None else _number(row.measured, cell.unit),
            _deviation(row), "**not simulated**" if row.state == "none" else kind, cell.command or "–",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    why = list(dict.fromkeys(_why(row) for row in rows if row.state != "within"))
    return "\n".join(
        [*lines, "", *(["What the simulated servers don't reproduce, and why:", "", *why, ""] if why else [])]
    )


def _why(row: Row) -> str:
    return f"- {row.cell.what.partition(';')[0] if row.cell.text != '001' else 'The rule of thumb'}: {row.cell.why}."


def _published(cell: Cell) -> str:
    if isinstance(cell.published, tuple):
        low, high = cell.published
        lowest = f"{100 * low:.3g}" if cell.unit == "share" else _number(low, "")
        return f"{lowest} to {_number(high, cell.unit)}"
    return _number(cell.published, cell.unit)


def _number(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.3g} %"
    digits = 0 if abs(value) >= 1000 or value == int(value) else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    text = f"{value:,.{digits}f}"
    return f"${text}" if unit == "$" else f"{text} {unit}".strip()


def _deviation(row: Row) -> str:
    published = row.cell.published
    if row.measured is None:
        return "–"
    if isinstance(published, tuple):
        low, high = published
        if low <= row.measured <= high:
            return "in the range"
        nearest = high if row.measured > high else low
        return f"{row.measured / nearest:.2f} × the {'upper' if nearest == high else 'lower'} end" if nearest else "–"
    if not published:
        return "–"
    times = row.measured / published
    return (
        f"× {times:.2f}"
        if row.cell.is_wait or not 0.5 < times < 2
        else f"{100 * (times - 1):+.0f} %".replace("-0 %", "+0 %")
    )
