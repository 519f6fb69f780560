"""GPUs on the page: their lanes, their table by level, and the energy; nothing of it where none was read."""

from pathlib import Path
from typing import Any

import pytest
import synthetic_run

from probe_ext.bundled import folder
from probe_ext.measure.table_rows import GpuRow
from probe_ext.report.inputs import frames
from probe_ext.report.outputs.render import html as render
from probe_ext.report.sections.optional.gpu import gpu_section
from probe_ext.report.sections.page import Page, page
from probe_ext.run import directory, tables
from probe_ext.settings.slo import load_profile
from probe_ext.verdict.judge import judge

WATTS = 200.0


def gpu_rows(**extra: float) -> list[GpuRow]:
    end = int(synthetic_run.HOLD * len(synthetic_run.LEVELS))
    rows = []
    for second in range(end + 1):
        values = {
            "gpu_utilisation": 0.5 + (second % 2) / 10,
            "gpu_clock": 1410.0,
            "gpu_temperature": 60.0,
            "gpu_energy": 1e6 + WATTS * second,
            **extra,
        }
        rows += [GpuRow(float(second), "http://gpu", "0", name, value) for name, value in values.items()]
    return rows


def written(run: Path, rows: list[GpuRow]) -> tuple[Page, dict[str, Any], str]:
    synthetic_run.build(run)
    if rows:
        writer = tables.TableWriter(run / directory.GPU, GpuRow)
        writer.append(rows)
        writer.close()
    evidence = frames.load(run)
    profile = load_profile("chat", folder("configs") / "slo")
    capacity = judge(evidence, profile).to_json()
    shown = page(capacity, evidence, profile)
    return shown, capacity, render(shown)


def test_lanes_table_and_energy(tmp_path: Path) -> None:
    shown, capacity, html = written(tmp_path, gpu_rows())
    assert shown.axis is not None
    lanes = [lane.name for lane in shown.axis.lanes if lane.name.startswith("GPU")]
    assert lanes == ["GPU", "GPU clock", "GPU temperature"]
    assert shown.gpu is not None
    assert [row.head for row in shown.gpu.table.rows] == ["1", "2", "4", "8"]
    first, *rest = capacity["gpu"]["by_level"]
    again = {**capacity, "gpu": {**capacity["gpu"], "by_level": [first, *rest, {**first, "t_start": 999.0}]}}
    visited = gpu_section(again)
    assert visited is not None
    assert [row.head for row in visited.table.rows] == ["1 (1st)", "1 (2nd)", "2", "4", "8"]
    level = capacity["gpu"]["by_level"][0]
    assert level["power"] == pytest.approx(WATTS, rel=0.02)
    tokens_per_s = next(one for one in capacity["levels"] if one["users"] == 1)["total_tokens_per_s"]
    assert level["joules_per_1000_tokens"] == pytest.approx(1000 * WATTS / tokens_per_s, rel=0.02)
    assert "GPU and energy" in html
    assert "the GPUs&#39; own energy counter" in html


def test_what_the_exporter_does_not_report_is_a_dash_with_the_reason(tmp_path: Path) -> None:
    shown, _, _ = written(tmp_path, [row for row in gpu_rows() if row.quantity != "gpu_energy"])
    assert shown.gpu is not None
    cells = {column.term: cell for column, cell in zip(shown.gpu.table.columns[1:], shown.gpu.table.rows[0].cells)}  # noqa: B905
    assert (cells["gpu_memory"].text, cells["gpu_memory"].why) == ("–", "not reported by the exporter")
    assert cells["joules"].text == "–"
    assert "not every GPU reports its power or energy" in cells["joules"].why


def test_a_run_without_gpus_has_no_section_lane_or_sentence(tmp_path: Path) -> None:
    shown, capacity, html = written(tmp_path, [])
    assert shown.axis is not None
    assert capacity["gpu"] is None
    assert shown.gpu is None
    assert not [lane for lane in shown.axis.lanes if lane.name.startswith("GPU")]
    assert "GPU and energy" not in html


def test_a_damaged_table_is_reported(tmp_path: Path) -> None:
    synthetic_run.build(tmp_path)
    (tmp_path / directory.GPU).write_text("t,url,gpu,quantity,value\n1,u,0,gpu_power,much\n2,u,0,gpu_power,5\n")
    evidence = frames.load(tmp_path)
    assert evidence.gpu["value"].tolist() == [5.0]
    assert any("gpu.csv" in line for line in evidence.damage)
