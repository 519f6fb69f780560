"""The cold-user gap in the short texts."""

from pathlib import Path

import pytest

from probe_ext.report import report_command
from probe_ext.report.wording import shared_sentences


def test_a_measured_gap_is_a_sentence() -> None:
    found = {"measured": True, "cold_p50": 2.48, "warm_p50": 0.15}
    assert (
        shared_sentences.cold_user(found) == "A cold user waits 2.5 s for the first word, a warm one 0.15 s (medians)."
    )
    assert shared_sentences.cold_user({"measured": False}) == ""


def test_the_summary_states_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report_command.build(run)
    assert "cold user" not in (run / "summary.md").read_text(encoding="utf-8")
    monkeypatch.setattr(shared_sentences, "cold_user", lambda _found: "A cold user waits.")
    report_command.build(run)
    assert "\nA cold user waits.\n" in (run / "summary.md").read_text(encoding="utf-8")
