"""`probe_ext.load_run`: typed frames with units, the verdict of the report, and the pictures of its page."""

import json
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probe_ext import LoadedRun, load_run
from probe_ext.measure.table_rows import GapRow, GpuRow, ReplyRow, ServerRow, UserRow, columns
from probe_ext.report.sections.pauses import CSV_COLUMNS
from probe_ext.run.manifest import ManifestError
from probe_ext.settings.errors import SettingsError
from tests.test_docs import documented, names, page_with, section, tables

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "reports" / "examples" / "vllm"
FRAMES = ("levels", "replies", "gaps", "users", "server", "gpu", "pauses", "tokens")
RECORDED = {"replies": ReplyRow, "gaps": GapRow, "users": UserRow, "server": ServerRow, "gpu": GpuRow}
FILES = {"replies": "requests.csv", "gaps": "gaps.csv", "users": "users.csv", "server": "server.csv", "gpu": "gpu.csv"}


@pytest.fixture(scope="module")
def run() -> LoadedRun:
    return load_run(EXAMPLE)


@pytest.mark.parametrize(
    ("program", "heavy"),
    [("import probe_ext", "pandas numpy locust gevent"), ("from probe_ext import load_run", "locust gevent flask")],
)
def test_import_is_light(program: str, heavy: str) -> None:
    program += f"\nimport sys\nsys.exit(bool({set(heavy.split())} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_verdict_is_that_of_the_report(run: LoadedRun) -> None:
    written = json.loads((EXAMPLE / "capacity.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(run.capacity)) == written
    assert run.sentence == written["sentence"]
    assert run.manifest["schema"] == 2
    assert run.damage == ()


def test_recorded_frames_have_the_columns_of_their_files(run: LoadedRun) -> None:
    for name, row_type in RECORDED.items():
        frame = getattr(run, name)
        assert tuple(frame.columns)[: len(columns(row_type))] == columns(row_type), name
    assert tuple(run.pauses.columns) == CSV_COLUMNS
    csv = pd.read_csv(EXAMPLE / "requests.csv")
    assert len(run.replies) == len(csv)
    assert run.replies["tokens_out"].sum() == csv["tokens_out"].sum()


def test_every_column_has_one_type_in_which_missing_is_missing(run: LoadedRun) -> None:
    for name in FRAMES:
        frame = getattr(run, name)
        types = {str(frame[column].dtype) for column in frame}
        assert types <= {"float64", "Int64", "bool", "boolean", "category", "string"}, name
        texts = frame.select_dtypes(["category", "string"])
        assert not (texts == "").any().any(), name
    assert run.replies["message"].isna().all()
    assert str(run.replies["tokens_out"].dtype) == "Int64"
    assert str(run.server["engine"].dtype) == "category"
    assert list(run.server["engine"].cat.categories) == ["0"]


def test_grades_and_levels_agree_with_the_report(run: LoadedRun) -> None:
    assert len(run.levels) == len(run.capacity["levels"])
    for row, level in enumerate(run.capacity["levels"]):
        here = run.replies[(run.replies["level"] == row).fillna(False)]
        assert set(here["users"]) == {level["users"]}
        for grade in ("served", "strained", "broken"):
            assert (here["grade"] == grade).sum() == level[f"replies_{grade}"]
        assert len(here) == level["replies"]
        assert np.nanmedian(here["ttft"]) == pytest.approx(level["ttft_p50"], abs=1e-5)
    assert (run.replies["level"].isna()).sum() == run.capacity["replies_outside"]


def test_another_profile_judges_the_same_run() -> None:
    strict = load_run(EXAMPLE, slo="coding-assistant")
    assert strict.capacity["profile"]["name"] == "coding-assistant"
    assert (strict.replies["grade"] == "served").sum() < (load_run(EXAMPLE).replies["grade"] == "served").sum() + 1


def test_damaged_and_missing_runs(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=re.escape(str(tmp_path))):
        load_run(tmp_path)
    with pytest.raises(SettingsError, match="nothing"):
        load_run(EXAMPLE, slo="nothing")
    damaged = Path(shutil.copytree(EXAMPLE, tmp_path / "run"))
    lines = (damaged / "requests.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (damaged / "requests.csv").write_text("".join(lines[:-1]) + lines[-1][:20], encoding="utf-8")
    loaded = load_run(str(damaged))
    assert len(loaded.replies) == len(lines) - 2
    assert [line for line in loaded.damage if line.startswith("requests.csv")]


def test_pictures_are_those_of_the_page(run: LoadedRun, tmp_path: Path) -> None:
    assert run.plots[:2] == ["levels", "timeline"]
    page = (EXAMPLE / "capacity.html").read_text(encoding="utf-8")
    for name in run.plots:
        figure = run.plot(name)
        shapes = re.findall(r'<path class="[^"]*" d="[^"]*"', figure.document)
        assert shapes, name
        assert all(shape in page for shape in shapes), name
        assert "<script" not in figure.document
        assert not re.search(r"(?:src|href)=\"?(?:https?:)?//", figure.document)
    shown = run.plot()._repr_html_()
    assert unescape(re.search(r'srcdoc="([^"]*)"', shown)[1]) == run.plot("levels").document  # type: ignore[index]
    saved = run.plot("ttft").save(tmp_path / "ttft.html")
    assert saved.read_text(encoding="utf-8") == run.plot("ttft").document
    with pytest.raises(KeyError, match="choose from levels, timeline, "):
        run.plot("nothing")


def documented_units(page: str, heading: str) -> dict[str, str]:
    rows = [row for row in tables(section(page, heading))[-1] if len(row) == 3]
    return {name: row[1].removeprefix("duration, ") for row in rows for name in names([row])}


def test_units_are_those_of_the_documentation(run: LoadedRun) -> None:
    unitless = {"–", "flag", "count"}
    for name, file in {**FILES, "pauses": "pauses.csv"}.items():
        written = documented_units(page_with("docs/run-directory", file), file)
        if name == "replies":
            added = tables(section("docs/notebooks.md", "Frames"))[1]
            written |= {column: row[1] for row in added for column in names(row[:1] and [row])[:1]}
        frame = getattr(run, name)
        assert set(written) == set(frame.columns), name
        assert frame.attrs["units"] == {column: unit for column, unit in written.items() if unit not in unitless}, name
    assert set(run.levels.columns) < set(documented("docs/capacity-json/levels.md", "levels"))
    for column, unit in run.levels.attrs["units"].items():
        assert re.search(r"_s$|tokens", column) or unit in {"s", "fraction", "1/s", "tokens/s", "tokens"}, column
    floats = set(run.levels.select_dtypes("float64").columns) - {"waiting_max", "running_max"}
    assert floats == set(run.levels.attrs["units"]), "a measured figure without a unit"


def test_frames_are_documented() -> None:
    rows = tables(section("docs/notebooks.md", "Frames"))[0]
    assert [name.removeprefix("run.") for name in names([row[:1] for row in rows])] == list(FRAMES)
