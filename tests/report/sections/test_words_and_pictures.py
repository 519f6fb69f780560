"""Whatever the run, words, pictures and tables of its page say the same of each number of users."""

import re
from pathlib import Path
from typing import Any

import pytest

from probe_ext.bundled import folder
from probe_ext.report.comparison.shown_rows import shown_rows
from probe_ext.report.inputs import frames
from probe_ext.report.outputs.gate import gate
from probe_ext.report.sections.page import Page
from probe_ext.report.sections.page import page as view
from probe_ext.report.wording.shared_sentences import STATE_SIGNS
from probe_ext.settings.slo import load_profile
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.judge import judge
from probe_ext.verdict.results.team_size import Given
from scripts.study.diagnosis import diagnoses
from scripts.study.diagnosis.regimes import REGIMES

EXAMPLES = Path(__file__).parents[3] / "reports" / "examples"
CHAT = load_profile("chat", folder("configs") / "slo")
RUNS = ("synthetic", "vllm", "llamacpp", "serial", "batch", "wall", "ceiling", "healthy")
Seen = tuple[dict[str, Any], Page]


def evidence_of(name: str, whole_run: Path) -> Evidence:
    if name in REGIMES:
        return diagnoses.evidence_of(REGIMES[name], 3)
    return frames.load(whole_run if name == "synthetic" else EXAMPLES / name)


@pytest.fixture(scope="module", params=RUNS)
def seen(request: pytest.FixtureRequest, whole_run: Path) -> Seen:
    """A run's `capacity.json` and the page made of it."""
    evidence = evidence_of(request.param, whole_run)
    capacity = judge(evidence, CHAT, given=Given(think_time=60.0, price_per_hour=2.0)).to_json()
    return capacity, view(capacity, evidence, CHAT)


def states(capacity: dict[str, Any]) -> dict[int, str]:
    return {level["users"]: level["state"] for level in capacity["levels"]}


def test_each_bar_has_the_state_of_its_level_by_frame_and_sign(seen: Seen) -> None:
    capacity, page = seen
    assert {users: bar.state for users, bar in zip(page.stack.users, page.stack.bars, strict=True)} == states(capacity)
    signs = [label.text for label in page.stack.plot.labels if label.kind.startswith("sign")]
    assert signs == [STATE_SIGNS[bar.state] for bar in page.stack.bars]


def test_the_interval_is_drawn_over_the_bars_that_it_names(seen: Seen) -> None:
    capacity, page = seen
    interval, drawn = capacity["interval"], page.stack.interval
    assert (interval is None) == (drawn is None)
    if drawn is None:
        return
    low, high = interval
    middles = {users: bar.x + bar.width / 2 for users, bar in zip(page.stack.users, page.stack.bars, strict=True)}
    inside = {users for users in middles if low <= users and (high is None or users <= high)}
    assert {users for users, x in middles.items() if drawn.start - 0.01 <= x <= drawn.end + 0.01} == inside
    assert drawn.open == (high is None)


def test_one_number_of_people_is_the_answer_in_headline_picture_team_and_cost(seen: Seen) -> None:
    capacity, page = seen
    served, (held, failed) = capacity["served_users"], capacity["bracket"]
    assert page.answer.number == ("" if served is None else f"{served:,}")
    suggested = (capacity["suggestion"] or {}).get("users")
    shown = suggested if served is None else served
    if served is None and "Probably between" in capacity["sentence"]:
        shown = None  # a number within a range that wide would say more than the sentence
    marked = [label.text for label in page.stack.plot.labels if label.kind == "caplab"]
    assert [re.findall(r"\d+", text) for text in marked] == ([] if shown is None else [[str(shown)]])
    assert all(("not proven" in text) == (served is None) for text in marked)
    assert served is not None or shown is None or re.search(rf"\b{shown}\b", capacity["sentence"])
    proven = page.picture_notes[0]
    assert proven.startswith("Proven: nothing" if held is None and failed is None else "Proven: ")
    assert (f"{held} holds" in proven, f"{failed} fails" in proven) == (held is not None, failed is not None)
    for part in ("team", "cost"):
        if capacity[part] is not None:
            assert f" {held} people at once" in capacity[part]["sentence"]


def test_the_card_of_a_dimension_says_what_its_bracket_says_and_the_points_are_of_that_state(seen: Seen) -> None:
    capacity, page = seen
    for card in page.cards:
        result = capacity["dimensions"].get(card.key)
        if result is None or card.plot is None:
            continue
        held, failed = result["bracket"]
        assert ("not proven" in card.answer) == (held is None)
        assert held is None or f"proven up to {held} user" in card.answer
        assert (f"fails at {failed} user" in card.answer) == (failed is not None)
        assert card.is_first_limit == (capacity["breaks_first"] == card.key)


def test_no_level_that_holds_lies_under_the_needed_share_and_none_that_fails_above_it(seen: Seen) -> None:
    """By the fit, which is the line of the picture."""
    capacity, _ = seen
    needed = capacity["profile"]["users"]["served_share"]
    for level in capacity["levels"]:
        fit = level["served_share_fit"]
        if fit is not None and level["state"] != "unproven":
            assert (fit >= needed - 1e-6) == (level["state"] == "held"), level["users"]


def test_no_output_names_a_number_between_levels_that_are_far_apart() -> None:
    far = {"users": 4, "low": 0, "high": 31}
    levels = [{"users": users, "reasons": (), "seconds_needed": 9.0} for users in (1, 32)]
    capacity = {
        "bracket": [None, 32], "verdict": "unproven", "load": "users", "suggestion": far, "groups": None,
        "levels": levels,
    }  # fmt: skip
    gated = gate(capacity, 8)
    assert gated is not None
    assert gated.sentence.endswith("8 was not proven (probably at least 1 is served, and fewer than 32)")
    set_up = {"name": "a", "served_users": None, "interval": [0, 31], "levels": levels}
    row = {"quantity": "capacity", "users": None, "set_up": "a", "baseline": 4.0, "value": 4.0, "change": None,
           "reason": "gap_between_levels", "outcome": "cannot_tell", "low": None, "high": None, "scale": "ratio",
           "minutes_more": None}  # fmt: skip
    shown = shown_rows({"set_ups": [set_up], "rows": [row], "who": "people"})
    assert (shown[0].baseline, shown[0].change) == ("probably between 1 and 31 people", "–")
