"""The study's page in the repository is made of its figures, and they are as good as what is claimed."""

import json
from pathlib import Path
from typing import Any

from scripts.study import effort
from scripts.study.page import page, wilson

HERE = Path(__file__).resolve().parents[2] / "reports" / "study"


def studied() -> dict[str, Any]:
    return dict(json.loads((HERE / "study.json").read_text(encoding="utf-8")))


def test_the_page_in_the_repository_is_made_of_its_figures() -> None:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    made = next(line for line in text.splitlines() if line.startswith("Made by")).partition("do not edit. ")[2]
    assert page(studied(), made) == text


def test_what_the_page_shows_is_as_good_as_what_is_claimed() -> None:
    """Seldom fewer than the claimed 95 % of the intervals hold the truth: not beyond what chance allows."""
    for one in studied()["coverage"]:
        assert wilson(one["covered"], one["answered"])[1] >= 0.95, one["case"]
        assert one["same_again"] == one["judged_again"]
    ways = {(one["case"], one["way"]): one for one in studied()["effort"]}
    assert {one["runs"] for one in ways.values()} == {effort.RUNS}
