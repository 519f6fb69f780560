"""The study's arithmetic, and that its runs can be repeated."""

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.study import __main__ as study
from scripts.study import parts, truth
from scripts.study.code_digest import code_digest
from scripts.study.figures import figures, limits, missed_claims
from scripts.study.parts import Job, jobs, run_job
from scripts.study.random_servers import random_server
from scripts.study.truth import LevelTruth, find_truth


def row(
    interval: tuple[int, int | None] | None,
    *levels: tuple[int, str],
    estimate: float | None = None,
    tied: tuple[int, ...] = (),
) -> dict[str, Any]:
    return {
        "case": "a", "seed": 1, "truth": {"users": 9, "tied": tied, "crossing": 9.5}, "levels": levels,
        "estimate": estimate, "interval": interval, "seconds": 60.0,
    }  # fmt: skip


def test_what_counts_as_covered_and_as_a_false_answer() -> None:
    told = figures([
        row((8, 9), (8, "held"), (16, "failed"), estimate=9.5),
        row((6, 8), (8, "unproven"), (16, "failed"), estimate=7.6),
        row((10, None), (8, "held"), (16, "held")),
        row((0, 8), (8, "failed"), (16, "failed")),
        row(None, (8, "unproven")),
    ])  # fmt: skip
    assert (told["covers"], told["false_failed"], told["false_held"]) == ([1, 4], [1, 5], [1, 5])
    assert told["unproven"] == [2, 9]
    assert told["width"] == pytest.approx((1 + 2 + 6 + 8) / 4), "an open interval ends at the top level"
    assert (told["bias"], told["error"]) == (pytest.approx(-0.1), pytest.approx(0.1))


def test_a_tie_counts_neither_way() -> None:
    told = figures([row((8, 8), (9, "failed"), tied=(9,)), row((9, 12), (10, "held"), tied=(10,))])
    assert (told["covers"], told["false_failed"], told["false_held"]) == ([2, 2], [0, 2], [0, 2])


def test_beyond_the_highest_level_nothing_is_claimed() -> None:
    assert figures([row((4, 8), (4, "held"), (8, "held"))])["covers"] == [1, 1]


def test_limits_and_missed_claims() -> None:
    low, high = limits(190, 200)
    assert (low, high) == (pytest.approx(0.9104, abs=1e-3), pytest.approx(0.9726, abs=1e-3))
    told = {"covers": [170, 200], "false_failed": [4, 200], "false_held": [15, 200]}
    assert missed_claims(told) == ["covers", "false_held"]
    assert missed_claims(told, hard=True) == ["covers"]


@pytest.mark.parametrize("part", ["stated", "hard", pytest.param("stated search", marks=pytest.mark.long)])
def test_a_run_can_be_repeated_from_its_seed(part: str) -> None:
    job = jobs(part, 1, "")[0]
    assert run_job(job) == run_job(job)
    assert run_job(job)["levels"]


@pytest.mark.untraced
def test_a_random_server_can_be_drawn_again_and_the_salt_matters() -> None:
    first, again, other = (random_server(salt, 5) for salt in ("a", "a", "b"))
    assert first == again
    assert first.profile != other.profile
    assert len(first.sweep) >= 3


def test_every_job_is_made_once() -> None:
    for part in parts.PARTS:
        made = jobs(part, 2, "salt")
        assert len({job.key for job in made}) == len(made)


@pytest.mark.untraced
def test_rows_of_other_code_count_once_a_sample_comes_out_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "ROWS", tmp_path)
    study.make_rows(jobs("stated", 2, "")[:4], 1)
    monkeypatch.setattr(study, "digest", lambda part: f"other {part}")
    assert study.read_rows("stated") == []
    monkeypatch.setattr(study, "run_job", lambda job: {**run_job(job), "estimate": 0.0})
    study.adopt("stated", 2)
    assert study.read_rows("stated") == [], "one comes out otherwise"
    monkeypatch.setattr(study, "run_job", run_job)
    study.adopt("stated", 2)
    assert len(study.read_rows("stated")) == 4


def test_figures_of_earlier_code_stay_with_their_commit(tmp_path: Path) -> None:
    file = tmp_path / "study.json"
    file.write_text(json.dumps({"stated": [{"case": "a", "commit": "old"}, {"case": "b", "commit": "old"}]}))
    kept = study.with_earlier({"stated": [{"case": "b"}]}, file)
    assert kept == {"stated": [{"case": "a", "commit": "old"}, {"case": "b", "commit": study.commit()}]}


@pytest.mark.untraced
def test_a_stated_search_is_right() -> None:
    told = run_job(Job("stated search", "steep", 3))
    assert told["outcome"] == "precise"
    low, high = told["interval"]
    assert low <= 13 <= high <= low + 3


@pytest.mark.untraced
def test_the_truth_is_found_from_any_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    """Around a server that serves 13: nothing is run."""

    def level(_case: object, users: int) -> LevelTruth:
        return LevelTruth(users, 0.95 if users <= 13 else 0.7, 0.002, 0.0, 0.0, 60.0)

    monkeypatch.setattr(truth, "level_truth", level)
    case = random_server("a", 5)
    assert {find_truth(case, guess).users for guess in (1, 5, 13, 14, 60)} == {13}
    assert find_truth(case, 13).tied == ()


def test_a_level_is_clear_where_both_shares_are_and_bad_where_one_is() -> None:
    assert LevelTruth(1, 0.95, 0.01, 0.0, 0.0, 60.0).is_clear(3.0)
    assert not LevelTruth(1, 0.92, 0.01, 0.0, 0.0, 60.0).is_clear(3.0)
    assert LevelTruth(1, 0.95, 0.01, 0.05, 0.001, 60.0).is_clear(3.0)
    assert not LevelTruth(1, 0.95, 0.01, 0.05, 0.001, 60.0).holds


def test_code_keeps_its_name_in_another_folder_and_loses_it_by_a_change(tmp_path: Path) -> None:
    study = tmp_path / "scripts" / "study"
    (study / "servers").mkdir(parents=True)
    flat = "from scripts.study.a import A\nfrom scripts.study.b import B\n\nA(B, 1)\n"
    moved = "from scripts.study.b import B\nfrom scripts.study.servers.a import A\n\nA(B, 1)  # as before\n"
    (study / "run.py").write_text(flat)
    (study / "servers" / "run.py").write_text(moved)
    (study / "other.py").write_text(flat.replace("1", "2"))
    before, after, other = (code_digest([study / name]) for name in ("run.py", "servers/run.py", "other.py"))
    assert before == after != other
