"""The committed comparisons of published texts: made from their own files, and near the texts' figures."""

import json
from typing import Any

import pytest

from probe_ext.report.comparison.comparison_schema import validate
from probe_ext.sim.profile import load_profile
from scripts.seed_comparisons.__main__ import FIGURES, OUT
from scripts.seed_comparisons.comparisons_page import measured, page
from scripts.seed_comparisons.measure import SERVERS
from scripts.seed_comparisons.published import COMPARISONS, Published

TOLERANCE = 0.25
UNFITTED = "Predicted from the card"
"""shows where a text's rule of thumb differs from what a card's shape gives"""


def read(key: str) -> list[Any]:
    return [json.loads((OUT / key / name).read_text("utf-8")) for name in (FIGURES, "compare.json")]


def test_every_server_is_a_profile_of_the_simulator() -> None:
    for comparison in COMPARISONS:
        for server in comparison.servers:
            assert load_profile(str(SERVERS / f"{server.profile}.yaml")).max_num_seqs


def test_the_overview_is_made_from_the_committed_comparisons() -> None:
    text = page(COMPARISONS, {one.key: read(one.key) for one in COMPARISONS})
    assert (OUT / "README.md").read_text("utf-8") == text


@pytest.mark.parametrize(
    ("key", "figure"),
    [(one.key, figure) for one in COMPARISONS for figure in one.published if figure.server != UNFITTED],
    ids=str,
)
def test_figures_are_near_the_published_ones(key: str, figure: Published) -> None:
    found = measured(figure, read(key)[0])
    assert found is not None
    assert (1 - TOLERANCE) * figure.low <= found <= (1 + TOLERANCE) * figure.high


@pytest.mark.parametrize("key", [one.key for one in COMPARISONS])
def test_comparisons_follow_the_schema_and_name_no_path_of_the_machine(key: str) -> None:
    compared = read(key)[1]
    validate(compared)
    assert not compared["must_be_equal"]
    assert all(run.startswith("runs/") for set_up in compared["set_ups"] for run in set_up["runs"])
