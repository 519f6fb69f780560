"""Gates are checked before a run, not after it."""

import json
from pathlib import Path

import pytest

from probe_ext.load.series_plan import RateStep, SeriesPlan
from probe_ext.measure.rate import Rate
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import read_options
from probe_ext.swarm.preparation.gate_checks import check_gates, check_gates_of_series


def checked(**given: str) -> None:
    check_gates(read_options(given))


def test_a_limit_must_be_for_a_planned_level() -> None:
    checked(levels="8,16", fail_over="ttft_p95=1@16,ttft_p50=1")
    with pytest.raises(SettingsError, match="--fail-over ttft_p95@12: not one of the levels 8, 16"):
        checked(levels="8,16", fail_over="ttft_p95=1@12")


def test_a_baseline_must_be_there_and_readable(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--baseline .*: neither a run directory nor a capacity\.json"):
        checked(baseline=str(tmp_path / "gone"))
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"--baseline .*run\.json"):
        checked(baseline=str(tmp_path))
    (tmp_path / "run.json").write_text(json.dumps({"schema": 2}), encoding="utf-8")
    checked(baseline=str(tmp_path))
    with pytest.raises(SettingsError, match="is the --out of this run"):
        checked(baseline=str(tmp_path), out=str(tmp_path))


def test_without_a_report_there_is_no_gate() -> None:
    for gate in ({"fail_over": "ttft_p95=1"}, {"baseline": "old"}):
        with pytest.raises(SettingsError, match="which needs the report"):
            read_options({**gate, "no_report": True})


SERIES = SeriesPlan((RateStep(Rate.of(2), 60.0),), settle=5.0)


@pytest.mark.parametrize("gate", [{"fail_under_users": "8"}, {"fail_over": "ttft_p95=1"}, {"baseline": "old"}])
def test_a_series_of_rates_has_no_gate_on_users(gate: dict[str, str]) -> None:
    (flag,) = gate
    with pytest.raises(SettingsError, match=f"--{flag.replace('_', '-')} .*series.*use --fail-under-rate"):
        check_gates_of_series(read_options(gate), SERIES)
    check_gates_of_series(read_options(gate), None)
    check_gates_of_series(read_options({"fail_under_rate": "2"}), SERIES)


def test_a_baseline_of_rates_is_refused_before_the_run(tmp_path: Path) -> None:
    kept = tmp_path / "capacity.json"
    kept.write_text(json.dumps({"load": "rate"}), encoding="utf-8")
    for path in (kept, tmp_path):
        with pytest.raises(SettingsError, match=r"--baseline .*held rates instead of numbers of users"):
            checked(baseline=str(path))
    (tmp_path / "run.json").write_text(json.dumps({"schema": 2, "plan": {"rates": [2.0]}}), encoding="utf-8")
    with pytest.raises(SettingsError, match="held rates instead of numbers of users"):
        checked(baseline=str(tmp_path))
    kept.write_text("{", encoding="utf-8")
    with pytest.raises(SettingsError, match="not valid JSON"):
        checked(baseline=str(kept))
