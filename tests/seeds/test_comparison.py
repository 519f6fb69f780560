"""The comparison: every published figure is measured, deviations are correct, and misses are shown."""

import csv
import itertools
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from probe_ext.settings.options import OPTIONS, read_options
from scripts.seeds import article, run_trial
from scripts.seeds.__main__ import PAGE_DIR, PAGE_NAME, load_results, to_json
from scripts.seeds.article import LLAMA, QWEN, Cell
from scripts.seeds.compare import Compared, compare
from scripts.seeds.figures import Figures, figures
from scripts.seeds.page import QUANTITIES, page
from scripts.seeds.run_trial import Result
from scripts.seeds.trials import trials

WARMED = {"warm_up_most": 64.0, "warm_up_seconds": 10.0, "warm_up_slowest_reply": 2.0, "ttft_p95": 0.1}


def as_published() -> list[Result]:
    """Return every trial with exactly the published figures as its result."""
    published = {cell.key: cell.published for cell in article.cells()}
    results = []
    for trial in trials():
        table, _, arm = trial.table.partition("-")
        of = {
            name: value
            for (t, m, n, name), value in published.items()
            if (t, m, n) == (table, trial.model, trial.users)
        }
        if table == "caching":
            of = {"ttft_p50": of[f"{arm}_p50"], "hit_rate": of[f"{arm}_hit_rate"]}
        if table in ("distinct", "mixed", "warm"):
            of = {**WARMED, "kv_usage_max": 1.0, "preemptions": 3.0, "waiting_max": 2.0, "total_tokens_per_s": 100.0}
            of |= {"longest_gap": 9.0}
            of |= {f"judged_{key}": 1.0 for key in ("cold_p50", "warm_p50", "ratio", "ratio_low", "ratio_high")}
            of |= {"judged_cold_cached": 0.0, "judged_warm_cached": 0.9}
        results.append(Result(trial, dict(of)))
    return results


def test_the_published_figures_are_within_every_tolerance() -> None:
    cells = compare(as_published())
    assert [cell.cell for cell in cells] == article.cells()
    assert all(cell.within for cell in cells)
    assert sum(cell.fitted is not None for cell in cells) == 15


@pytest.mark.parametrize(
    ("quantity", "published", "inside", "outside"),
    [
        ("decode_rate", 100, (85.1, 114.9), (84.9, 115.1)),
        ("ttft_p95", 0.3, (0.201, 0.449), (0.199, 0.451)),
        ("ratio", 16, (12.1, 19.9), (11.9, 20.1)),
        ("kv_usage_max", 0.65, (0.56, 0.74), (0.54, 0.76)),
        ("preemptions", 0, (0,), (1,)),
        ("preemptions", 11, (1, 40), (0,)),
        ("warm_hit_rate", 0.943, (0.90, 0.98), (0.89, 0.995)),
    ],
)
def test_tolerances(quantity: str, published: float, inside: Iterable[float], outside: Iterable[float]) -> None:
    cell = Cell("t", QWEN, 1, quantity, published)
    assert all(Compared(cell, value, None).within for value in inside)
    assert not any(Compared(cell, value, None).within for value in outside)


def test_a_missing_measurement_is_an_error() -> None:
    results = [r for r in as_published() if (r.trial.table, r.trial.users) != ("sweep", 64)]
    with pytest.raises(KeyError, match="64"):
        compare(results)


def test_the_page_shows_every_figure_and_every_miss() -> None:
    results = as_published()
    slow = next(i for i, r in enumerate(results) if (r.trial.table, r.trial.users) == ("sweep", 32))
    results[slow] = replace(results[slow], figures={**results[slow].figures, "ttft_p95": 9.9})
    text = page(results, compare(results), "made")
    rows = [line for line in text.splitlines() if line.startswith("| ") and ("predicted" in line or "fitted: " in line)]
    assert len([line for line in rows if any(f"| {name} |" in line for name in QUANTITIES.values())]) == 86
    assert text.count("**outside** (predicted)") == 1
    assert "Qwen 2.5 7B AWQ, 32 users, TTFT p95: × 35.36, outside its tolerance" in text
    assert "{" not in text


def test_every_trial_has_valid_options() -> None:
    named = {option.flag: option.name for option in OPTIONS}
    names = [trial.name for trial in trials()]
    assert len(set(names)) == len(names)
    for trial in trials():
        assert (Path(__file__).parents[2] / "locustfiles" / f"{trial.scenario}.py").exists()
        options = [*trial.options, ""]
        values = {named[flag]: value for flag, value in itertools.pairwise(options) if flag in named}
        options_in_force = read_options(values | ({"ignore_eos": "yes"} if "ignore_eos" in values else {}))
        assert options_in_force.ignore_eos
        assert options_in_force.api == "completion"


def run_directory(path: Path, outcome: str = "complete") -> Path:
    """Write a run of two replies and a warm-up reply, at four times the card's speed."""
    replies = [
        {"scenario": "warm-up", "sent": 0, "first": 9, "last": 9, "end": 9, "tpot": 9, "tokens_out": 9},
        {"scenario": "capacity", "sent": 1, "first": 1.1, "last": 2, "end": 2, "tpot": 0.01, "tokens_out": 90},
        {"scenario": "capacity", "sent": 1, "first": 1.3, "last": 3, "end": 3, "tpot": 0.02, "tokens_out": 90},
    ]
    samples = [("kv_usage", 0.5, 0.4), ("kv_usage", 2.0, 0.9), ("preemptions", 0.5, 5), ("preemptions", 3.0, 7)]
    samples += [("waiting", 1.0, 9), ("waiting", 2.0, 1), ("prefix_queries", 0.5, 100), ("prefix_queries", 3.0, 300)]
    samples += [("prefix_hits", 0.5, 0), ("prefix_hits", 3.0, 150)]
    write(path / "requests.csv", [{**row, "outcome": outcome, "longest_gap": 0.5} for row in replies])
    write(path / "server.csv", [{"quantity": q, "t": t, "value": v} for q, t, v in samples])
    (path / "run.json").write_text(
        json.dumps({"warm_up": {"most": 2, "seconds": 3.0, "slowest_reply": 1.0, "rounds": []}})
    )
    return path


def write(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def test_figures_are_converted_to_the_card_s_speed(tmp_path: Path) -> None:
    result: Figures = figures(run_directory(tmp_path), 4.0)
    assert result["requests"] == 2
    assert result["ttft_mean"] == pytest.approx(0.8)
    assert result["total_tokens_per_s"] == pytest.approx(180 / 2 / 4)
    assert result["decode_rate_mean"] == pytest.approx((100 + 50) / 2 / 4)
    assert (result["kv_usage_max"], result["preemptions"], result["hit_rate"]) == (0.9, 2.0, 0.75)
    assert result["waiting_max"] == 1.0  # earlier, while all users arrive, more are waiting
    assert result["warm_up_seconds"] == 3.0


def test_a_run_with_an_incomplete_reply_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="cut"):
        figures(run_directory(tmp_path, "cut"), 1.0)


@pytest.mark.parametrize(("replies", "runs"), [([48], 1), ([34, 48], 2), ([34, 34, 34], 3)])
def test_a_run_that_ended_before_all_users_had_sent_is_repeated(
    replies: list[int], runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = next(trial for trial in trials() if trial.table == "long")
    left = list(replies)
    monkeypatch.setattr(run_trial, "_run_once", lambda trial, _: Result(trial, {"requests": float(left.pop(0))}))
    if max(replies) < trial.users:
        with pytest.raises(RuntimeError, match=r"\[34, 34, 34\] replies instead of 48"):
            run_trial.run_trial(trial)
    else:
        assert run_trial.run_trial(trial).figures["requests"] == trial.users
    assert len(replies) - len(left) == runs


def test_results_survive_a_round_trip_through_json(tmp_path: Path) -> None:
    results = as_published()
    file = tmp_path / "seeds.json"
    file.write_text(json.dumps(to_json(results, compare(results))))
    again = load_results(file)
    assert [r.trial for r in again] == [r.trial for r in results]
    assert page(again, compare(again), "") == page(results, compare(results), "")


def test_the_committed_page_matches_its_data() -> None:
    results = load_results(PAGE_DIR / "seeds.json")
    cells = compare(results)
    committed = (PAGE_DIR / PAGE_NAME).read_text(encoding="utf-8")
    assert page(results, cells, committed.rstrip().splitlines()[-1]) == committed
    stated = json.loads((PAGE_DIR / "seeds.json").read_text(encoding="utf-8"))["cells"]
    assert [cell["within"] for cell in stated] == [cell.within for cell in cells]
    assert [r.trial for r in results] == trials()


def test_the_committed_runs_have_the_memory_wall_where_it_was_published() -> None:
    by_trial = {(r.trial.table, r.trial.model, r.trial.users): r.figures for r in load_results(PAGE_DIR / "seeds.json")}
    before, after = by_trial["wall", LLAMA, 24], by_trial["wall", LLAMA, 32]
    assert before["preemptions"] == 0
    assert (before["kv_usage_max"] or 0) > 0.9
    assert (after["preemptions"] or 0) > 0
    assert by_trial["long", QWEN, 48]["preemptions"] == 0
