"""The spread of the gaps at each level, against sketches whose values are known by construction."""

from dataclasses import replace
from pathlib import Path

import pytest
import synthetic_run
from report_views import viewed

from probe_ext.bundled import folder
from probe_ext.measure.sketch import LatencySketch
from probe_ext.report.inputs import frames
from probe_ext.report.sections.distributions import Distributions, distributions
from probe_ext.settings.slo import load_profile
from probe_ext.verdict.evidence.evidence import Evidence, Window

LEVELS = [
    {"users_low": users, "users_high": users, "users": users, "t_start": start, "t_end": end}
    for users, start, end in ((2, 5.0, 20.0), (4, 23.0, 41.0))
]


def window(metric: str, start: float, values: list[float]) -> Window:
    sketch = LatencySketch()
    sketch.add(values)
    return Window(metric, start, 5.0, None, sketch)


@pytest.fixture(scope="module")
def bare(whole_run: Path) -> Evidence:
    return replace(frames.load(whole_run), windows=())


def shown(bare: Evidence, *windows: Window) -> Distributions | None:
    return distributions(LEVELS, replace(bare, windows=windows), load_profile("chat", folder("configs") / "slo"))


def test_percentiles_of_the_windows_within_the_level(bare: Evidence) -> None:
    steady = [0.02] * 94 + [0.1] * 4 + [0.5] * 2
    found = shown(
        bare,
        window("gap", 0, [9.0] * 50),  # before the first level
        window("gap", 5, steady),
        window("gap", 15, steady),
        window("gap", 20, [9.0] * 50),  # neither the one nor the other
        window("gap", 25, [0.04] * 20),
        window("gap", 40, [9.0] * 50),  # half inside the second
    )
    assert found is not None
    (gaps,) = found.shown
    assert [row.head for row in gaps.rows] == ["2", "4"]
    assert gaps.rows[0].figures == ["20 ms", "0.10 s", "0.50 s"]  # a sketch is right to half a percent
    assert gaps.rows[0].taken == "200 gaps, 10 s of 15 s"
    assert gaps.rows[1].figures == ["40 ms", "40 ms", "–"], "a p99 of 20 gaps is just the longest"


def test_gap_and_itl_are_never_mixed(bare: Evidence) -> None:
    apart = shown(bare, window("gap", 5, [0.08] * 10), window("itl", 5, [0.02] * 10))
    same = shown(bare, window("gap", 5, [0.08] * 10), window("itl", 5, [0.08] * 10))
    assert apart is not None
    assert same is not None
    assert [(one.term, one.rows[0].figures[0]) for one in apart.shown] == [("gap", "80 ms"), ("itl", "20 ms")]
    assert apart.note == ""
    assert [one.term for one in same.shown] == ["gap"]
    assert "one token" in same.note


def test_a_level_without_a_complete_window_has_dashes(bare: Evidence) -> None:
    found = shown(bare, window("gap", 5, [0.02] * 10))
    assert found is not None
    assert found.shown[0].rows[1].plot is None
    assert found.shown[0].rows[1].figures == ["–"] * 3


def test_without_sketches_there_is_no_section(bare: Evidence) -> None:
    assert shown(bare) is None
    assert shown(bare, window("ttft", 5, [0.1])) is None


def test_histograms_and_marks_are_inside_the_picture_at_their_place(bare: Evidence) -> None:
    found = shown(bare, window("gap", 5, [0.01] * 30 + [0.1] * 60 + [1.0] * 10))
    assert found is not None
    plot = found.shown[0].rows[0].plot
    assert plot is not None
    x = {shape.kind: float(shape.d[1:].split()[0]) for shape in plot.shapes if shape.kind.startswith("pc")}
    assert 0 < x["pc p50"] < x["pc p95"] <= x["pc p99"] < 1000
    ticks = {label.text: label.x * 10 for label in found.shown[0].ticks}
    assert x["pc p50"] == pytest.approx(ticks["0.1 s"], abs=5)


def test_one_row_per_level(whole_run: Path) -> None:
    spreads = viewed(whole_run).distributions
    assert spreads is not None
    assert [row.head for row in spreads.shown[0].rows] == [str(users) for users in synthetic_run.LEVELS]
    tpot = [(1 + 0.1 * users) / 60 * 1000 for users in synthetic_run.LEVELS]
    assert [row.figures[0] for row in spreads.shown[0].rows] == [f"{ms:.0f} ms" for ms in tpot]


def test_gaps_that_a_proxy_made_are_not_stated(bare: Evidence) -> None:
    windows = (window("gap", 5, [0.02] * 100),)
    profile = load_profile("chat", folder("configs") / "slo")
    found = distributions(LEVELS, replace(bare, windows=windows), profile, resolved=False)
    assert found is not None
    assert not found.shown
    assert "unresolved_reads" in found.note
