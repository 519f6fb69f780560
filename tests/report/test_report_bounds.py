"""What the page, the summary and the terminal say of what bounds the server."""

from dataclasses import replace
from pathlib import Path

import pytest
from markupsafe import escape
from report_views import viewed

from probe_ext.report.outputs import render
from probe_ext.report.sections import bounds
from probe_ext.report.sections.page import Page
from probe_ext.report.wording import shared_sentences
from probe_ext.verdict.diagnosis.diagnose import NAMES


@pytest.fixture(scope="module")
def page(whole_run: Path) -> Page:
    """The stated model: at 8 users the KV cache is full and every second reply is put on hold."""
    return viewed(whole_run)


def test_every_rule_has_its_title() -> None:
    assert tuple(bounds.TITLES) == NAMES


def test_what_holds_stands_open_with_its_figures_and_the_rest_is_folded(page: Page) -> None:
    assert [one.title for one in page.bounds.holds] == ["The KV cache is full"]
    (wall,) = page.bounds.holds
    assert wall.rule.startswith("memory wall · from 8 people on")
    assert wall.advice
    assert ("KV cache at its fullest, at 8 users", "100 %") in wall.figures
    assert len(page.bounds.others) == len(NAMES) - 1
    assert all(one.title.startswith(("Ruled out: ", "Not known whether ")) for one in page.bounds.others)
    unknown = [one for one in page.bounds.others if one.kind == "open"]
    assert page.bounds.others[: len(unknown)] == unknown
    assert all(one.advice.startswith("To know, it takes") for one in unknown)
    assert page.bounds.others_say == f"{len(NAMES) - 1} bounds ruled out"
    assert not unknown


def test_the_first_screen_says_it_and_the_section_where_nothing_else_would(page: Page) -> None:
    said = f">{escape(page.bounds.sentence)}<"
    html = render.html(page)
    assert html.count(said) == 1
    assert render.html(replace(page, bounds=replace(page.bounds, holds=()))).count(said) == 2
    assert "at 8 memory ran out" in page.bounds.edge
    assert page.bounds.edge in html


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(0.97, "fraction", "97 %"), (0.3, "seconds", "0.30 s"), (4.0, "replies", "4 replies"), (1.0, "checks", "1 check"),
     (1.914, "", "1.9"),
     (None, "tokens/s", "– tokens/s")],
)  # fmt: skip
def test_figures_carry_their_unit(value: float | None, unit: str, said: str) -> None:
    assert bounds.figure(value, unit) == said


def test_one_line_for_the_terminal() -> None:
    said = {"sentence": "What bounds it: a.", "bounds": []}
    edge = {"sentence": "This is the edge.", "on_edge": True}
    assert shared_sentences.bounds({"diagnosis": said, "edge": edge}) == "What bounds it: a. This is the edge."
    assert shared_sentences.bounds({"diagnosis": said, "edge": {**edge, "on_edge": False}}) == "What bounds it: a."
    assert shared_sentences.bounds({"diagnosis": said, "edge": {**edge, "on_edge": None}}) == "What bounds it: a."
