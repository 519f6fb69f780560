"""The study's page in the repository is made of its figures, and they keep what is claimed."""

import json
from pathlib import Path
from typing import Any

from scripts.study.figures import KNOWN_SHORTFALLS, missed_claims
from scripts.study.page import page

HERE = Path(__file__).resolve().parents[2] / "reports" / "study"


def study() -> dict[str, Any]:
    return dict(json.loads((HERE / "study.json").read_text(encoding="utf-8")))


def test_the_page_in_the_repository_is_made_of_its_figures() -> None:
    assert page(study()) == (HERE / "README.md").read_text(encoding="utf-8")


def test_every_refuted_claim_is_a_known_shortfall_that_the_page_explains() -> None:
    missed = {
        (part, row["case"]) for part, rows in study().items() for row in rows if missed_claims(row, hard=part == "hard")
    }
    assert missed <= KNOWN_SHORTFALLS.keys()
    assert all(KNOWN_SHORTFALLS[key] in (HERE / "README.md").read_text(encoding="utf-8") for key in missed)
