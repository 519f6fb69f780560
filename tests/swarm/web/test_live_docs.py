"""docs/live-json.md documents exactly the keys of live.json."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from live_ui import Ui

from probe_ext.live import history, live_levels, reply_store
from probe_ext.live.live_run import COLUMNS
from probe_ext.live.named_stats import Streaming
from probe_ext.swarm.web.live_page_routes import FILES

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "live-json.md").read_text(encoding="utf-8")
RULES = {history.last: "the last", history.largest: "the largest", history.smallest: "the smallest",
         history.total: "the sum"}  # fmt: skip


def rows_of(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    part = PAGE if heading == "live.json" else PAGE.split(f"\n## {heading}\n")[1]
    table = re.search(r"(?:^\|.*\n)+", part, re.MULTILINE)
    assert table
    return [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in table[0].splitlines()[2:]]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def written(heading: str) -> set[str]:
    found = [name for row in rows_of(heading) for name in names_in(row[0])]
    assert len(found) == len(set(found))
    return set(found)


@pytest.fixture
def told(tmp_path: Path) -> dict[str, Any]:
    ui = Ui()
    ui.begin(tmp_path / "run")
    return dict(ui.client.get("/probe/live.json").get_json())


def test_documents_exactly_the_keys(told: dict[str, Any]) -> None:
    assert written("live.json") == set(told)
    for heading in ("run", "so_far", "now", "levels", "workers", "runs"):
        entries = told[heading] if isinstance(told[heading], list) else [told[heading]]
        assert entries
        for entry in entries:
            assert written(heading) == set(entry), heading
    assert written("history") | {"step"} == set(told["history"])


def test_documents_keys_within_cells(told: dict[str, Any]) -> None:
    cells = {names_in(row[0])[0]: row[1] for row in rows_of("live.json")}
    assert set(names_in(cells["streaming"])[0].split(", ")) == {f.name for f in fields(Streaming)}
    bounds = {name for piece in names_in(cells["bounds"]) for name in piece.split(", ")}
    assert bounds == set(told["bounds"])
    said = set(names_in(cells["said"])) - {"good", "bad"}
    assert said == set(told["said"])


def test_documents_how_points_are_merged() -> None:
    rules = {name: row[2] for row in rows_of("history") for name in names_in(row[0])}
    assert rules.pop("t") == "the first"
    assert rules == {name: RULES[merge] for name, merge in COLUMNS.items()}


def test_documents_every_served_file() -> None:
    last = PAGE.split("or `…/probe/runs/newest/`:")[1]
    assert set(names_in(last)) == set(FILES)


def test_documents_the_limits() -> None:
    page = " ".join((DOCS / "live-view.md").read_text(encoding="utf-8").split())
    assert f"at most {history.MAX_POINTS} points" in page
    assert history.RECENT_POINTS == 300
    assert f"newest {reply_store.MAX_REPLIES:,} replies" in page
    assert f"at most {reply_store.MAX_REPLIES:,} of them" in page
    assert f"newest {live_levels.MAX_LEVELS} levels" in page
    assert reply_store._ROW.itemsize == 40
