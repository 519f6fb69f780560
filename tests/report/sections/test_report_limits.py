"""What limits the server: on the page, in the summary and on the terminal."""

from dataclasses import replace
from pathlib import Path

import pytest
from markupsafe import escape
from report_views import viewed

from probe_ext.report.outputs import render
from probe_ext.report.sections import limits
from probe_ext.report.sections.page import Page
from probe_ext.report.wording import shared_sentences
from probe_ext.verdict.values.ruling_types import RULE_NAMES


@pytest.fixture(scope="module")
def page(whole_run: Path) -> Page:
    """Return the page of the synthetic run: at 8 users the KV cache is full and every second reply is preempted."""
    return viewed(whole_run)


def test_every_rule_has_a_title() -> None:
    assert tuple(limits.TITLES) == RULE_NAMES


def test_rules_that_hold_are_shown_and_the_others_folded(page: Page) -> None:
    assert [one.title for one in page.limits.holds] == ["The KV cache is full"]
    (wall,) = page.limits.holds
    assert wall.rule.startswith("memory wall · from 8 users on")
    assert wall.advice
    assert ("peak KV-cache usage, at 8 users", "100 %") in wall.figures
    assert len(page.limits.others) == len(RULE_NAMES) - 1
    assert all(one.title.startswith(("Ruled out: ", "Unknown: ")) for one in page.limits.others)
    unknown = [one for one in page.limits.others if one.kind == "open"]
    assert page.limits.others[: len(unknown)] == unknown
    assert all(one.advice.startswith("Needed to find out: ") for one in unknown)
    ruled_out = len(RULE_NAMES) - 1 - len(unknown)
    assert page.limits.others_summary == f"{ruled_out} limits ruled out, {len(unknown)} not known"


def test_the_sentence_is_on_the_first_screen_and_in_an_empty_section(page: Page) -> None:
    sentence = f">{escape(page.limits.sentence)}<"
    html = render.html(page)
    assert html.count(sentence) == 1
    assert render.html(replace(page, limits=replace(page.limits, holds=()))).count(sentence) == 2
    assert "at 8 it ran out of memory" in page.limits.headroom
    assert page.limits.headroom in html


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.97, "fraction", "97 %"), (0.3, "seconds", "0.30 s"), (4.0, "replies", "4 replies"), (1.0, "checks", "1 check"),
     (1.914, "", "1.9"),
     (None, "tokens/s", "– tokens/s")],
)  # fmt: skip
def test_figures_have_units(value: float | None, unit: str, text: str) -> None:
    assert limits.figure(value, unit) == text


def test_a_nearly_full_cache_is_added_to_the_sentence() -> None:
    def sentence(near: bool | None) -> str:
        headroom = {"sentence": "The KV cache is nearly full.", "near_saturation": near}
        return shared_sentences.limits({"diagnosis": {"sentence": "A limit."}, "kv_headroom": headroom})

    assert sentence(True) == "A limit. The KV cache is nearly full."
    assert sentence(False) == sentence(None) == "A limit."
