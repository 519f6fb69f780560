"""The page of all texts: each figure has ours or a reason, and the committed pages are made from committed figures."""

import json
from dataclasses import replace

import pytest

from probe_ext.sim.profile import load_profile
from scripts.coding_report.__main__ import OUT as CODING
from scripts.coding_report.page import page as coding_page
from scripts.coding_report.runs import PROFILE
from scripts.seed_comparisons.measure import SERVERS
from scripts.seed_documents.__main__ import OUT
from scripts.seed_documents.cells import Cell, cells
from scripts.seed_documents.extra_runs import EXTRA_RUNS
from scripts.seed_documents.page import beside, page
from scripts.seed_documents.sources import our_figures
from scripts.seeds.__main__ import load_results
from scripts.seeds.compare import compare

NUMBER = Cell("001", "a", 100.0)


@pytest.mark.parametrize(
    ("cell", "inside", "outside"),
    [
        (NUMBER, (86, 114), (84, 116)),
        (replace(NUMBER, published=(80.0, 120.0)), (80, 120), (79, 121)),
        (replace(NUMBER, published=0.02, is_wait=True), (0.014, 0.029), (0.013, 0.031)),
    ],
)
def test_tolerances(cell: Cell, inside: tuple[float, ...], outside: tuple[float, ...]) -> None:
    assert all(cell.within(value) for value in inside)
    assert not any(cell.within(value) for value in outside)


def test_what_is_outside_or_not_simulated_says_why() -> None:
    silent = [row.cell.what for row in beside(cells(), our_figures()) if row.state != "within" and not row.cell.why]
    assert not silent


def test_fitted_figures_are_within_their_tolerances_or_say_why() -> None:
    fitted = [row for row in beside(cells(), our_figures()) if row.cell.kind.startswith("fitted")]
    assert len(fitted) >= 8
    assert all(row.state == "within" or row.cell.why for row in fitted)


def test_a_figure_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(KeyError):
        beside([replace(NUMBER, ours="none/of/these")], our_figures())


def test_the_committed_pages_are_made_from_committed_figures() -> None:
    first = compare(load_results(OUT / "seeds.json"))
    assert page(cells(), our_figures(), first) == (OUT / "README.md").read_text(encoding="utf-8")
    figures = json.loads((CODING / "coding.json").read_text(encoding="utf-8"))
    assert coding_page(figures) == (CODING / "README.md").read_text(encoding="utf-8")


def test_the_rule_of_thumb_is_far_from_what_the_card_s_shape_gives() -> None:
    ours = our_figures()
    fitted, predicted = (
        ours[f"001-batching/{name}/10/each"] for name in ("Continuous batching", "Predicted from the card")
    )
    assert fitted is not None
    assert predicted is not None
    assert 15 <= fitted <= 25 < 4 * fitted < predicted


def test_every_extra_set_up_is_a_profile() -> None:
    assert load_profile(PROFILE).max_num_seqs
    assert all(load_profile(str(SERVERS / f"{run.profile}.yaml")).max_num_seqs for run in EXTRA_RUNS.values())
