"""Merging a dead worker's backup: each row enters the run once, at its time, or not at all."""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_swarm import Swarm
from swarm_fakes import Wire, World, a_reply, ask

from probe_ext.cli import main
from probe_ext.report.inputs import frames
from probe_ext.run import manifest, merge
from probe_ext.run.worker_files import MergeError
from probe_ext.swarm.link import messages
from probe_ext.swarm.master import build_manifest

WORKER = "w0"


@dataclass
class Left:
    """A run whose only worker was disconnected after half of its replies, and that worker's directory."""

    run: Path
    disk: Path
    true: dict[str, float]
    """when each reply was sent, seconds of the run"""

    @property
    def files(self) -> list[Path]:
        return [self.disk / f"requests-{WORKER}.csv", self.disk / f"gaps-{WORKER}.csv"]

    def rows(self, name: str = "requests.csv") -> list[dict[str, str]]:
        with (self.run / name).open(newline="") as file:
            return list(csv.DictReader(file))

    def worker(self) -> dict[str, Any]:
        return dict(manifest.read(self.run)["workers"][0])


@pytest.fixture
def left(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Left:
    """The worker's clock is an hour ahead and gains 90 ppm; its messages are lost from 60 s on."""
    clock = lambda t: 3600.0 + (1 + 90e-6) * t  # noqa: E731
    world.clocks = {WORKER: clock}
    monkeypatch.setattr(messages, "clock_name", lambda: world.who)
    run = tmp_path / "run"
    run.mkdir()
    swarm = Swarm(world, Wire(world, slow=0.002), run, workers=1)
    world.sleep(2.0)
    swarm.begin()
    world.sleep(1.0)
    true: dict[str, float] = {}
    for k in range(60):
        if k == 20:
            swarm.master.heard.pop(messages.BATCH)
        with world.on(WORKER):
            row = ask(swarm.nodes[0].recorder, a_reply(sent=clock(world.now), tokens=3, gap=0.5), user=f"{WORKER}:1")
        true[row.reply_id] = world.now - swarm.run.origin
        world.sleep(3.0)
    swarm.nodes[0].recorder.close()
    worker = swarm.coordinator.workers.known[WORKER]
    told = [build_manifest._worker(swarm.run, worker)]
    stated = {"schema": 1, "run_id": "r1", "workers": told, "findings": [], "started_at": "x", "options": {}}
    swarm.run.finish()
    manifest.write(run, stated)
    return Left(run, tmp_path / "reports" / "runs" / "run", true)


def test_merges_every_row_once_at_its_time(left: Left) -> None:
    before = len(left.rows())
    assert 0 < before < 60
    done = merge.merge(left.run, left.files)
    assert [(len(one.file.rows), one.added, one.file.truncated) for one in done] == [
        (60, 60 - before, False),
        (120, 2 * (60 - before), False),
    ]
    rows = left.rows()
    assert {row["reply_id"] for row in rows} == set(left.true)
    assert len(rows) == 60
    error = left.worker()["clock_error"]
    for row in rows:
        assert abs(float(row["sent"]) - left.true[row["reply_id"]]) <= error + 1e-4
        assert float(row["first"]) - float(row["sent"]) == pytest.approx(0.5, abs=1e-6)
    assert error < 0.01
    own = {row["reply_id"]: float(row["sent"]) for row in csv.DictReader(left.files[0].open())}
    assert abs(own[f"{WORKER}:60"] - left.true[f"{WORKER}:60"]) > 0.012  # its own clock would have misplaced it
    assert {(gap["reply_id"], gap["tokens_before"]) for gap in left.rows("gaps.csv")} == {
        (f"{WORKER}:{n}", str(k)) for n in range(1, 61) for k in (1, 2)
    }
    assert (left.worker()["rows"], left.worker()["started"]) == (60, 60)


def test_merging_again_changes_nothing(left: Left, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", str(left.run), *map(str, left.files)]) == 0
    once = {path.name: path.read_bytes() for path in left.run.iterdir()}
    assert "judge the run again: probe report" in capsys.readouterr().out
    assert main(["merge", str(left.run), *map(str, left.files)]) == 0
    assert {path.name: path.read_bytes() for path in left.run.iterdir()} == once
    said = capsys.readouterr().out
    assert "0 of 60 rows are new" in said
    assert "judge" not in said


def test_report_includes_merged_rows_and_says_what_lacks_them(left: Left) -> None:
    merge.merge(left.run, left.files)
    evidence = frames.load(left.run)
    assert len(evidence.replies["reply_id"]) == 60
    assert len(evidence.gaps["reply_id"]) == 120
    (finding,) = [one for one in evidence.manifest["findings"] if one["check"] == "merged"]
    assert finding["state"] == "fail"
    assert not finding["invalidates"]
    assert "tokens per second" in finding["why"]
    merged = sum(one["replies"] for one in evidence.manifest["merged"])
    assert f"{merged} replies were merged" in finding["why"]


def test_backup_in_the_run_directory_is_not_counted_twice(left: Left) -> None:
    for file in left.disk.iterdir():
        shutil.copy(file, left.run)
    merge.merge(left.run, left.files)
    evidence = frames.load(left.run)
    assert len(evidence.replies["reply_id"]) == 60
    assert len(evidence.gaps["reply_id"]) == 120


def test_ignores_truncated_last_lines(left: Left) -> None:
    with left.files[0].open("a") as file:
        file.write(f"{WORKER}:61,{WORKER},half a li")
    with (left.run / "requests.csv").open("a") as file:
        file.write(f"{WORKER}:9")  # the master was killed in mid-line, too
    done = merge.merge(left.run, left.files)
    assert done[0].file.truncated
    assert not done[1].file.truncated
    assert len(left.rows()) == 60
    assert {row["reads_unresolved"] for row in left.rows()} == {"0"}


def test_creates_a_missing_table(left: Left) -> None:
    (left.run / "requests.csv").unlink()
    (left.run / "gaps.csv").unlink()
    merge.merge(left.run, left.files)
    assert len(left.rows()) == 60


def _spoil_line(left: Left) -> None:
    lines = left.files[0].read_text().splitlines(keepends=True)
    lines[5] = lines[5].replace(",capacity,", ",", 1)
    left.files[0].write_text("".join(lines))


def _spoil_number(left: Left) -> None:
    lines = left.files[1].read_text().splitlines(keepends=True)
    lines[3] = f"{WORKER}:2,then,later,1\n"
    left.files[1].write_text("".join(lines))


def _other_run(left: Left) -> None:
    (left.disk / f"worker-{WORKER}.json").write_text(json.dumps({"run": "another", "worker": WORKER}))


def _unknown_worker(left: Left) -> None:
    stated = manifest.read(left.run)
    stated["workers"][0]["id"] = "somebody"
    manifest.write(left.run, stated)


def _old_header(left: Left) -> None:
    left.files[0].write_text(left.files[0].read_text().replace("tokens_in,", "", 1))


def _never_measured(left: Left) -> None:
    stated = manifest.read(left.run)
    stated["workers"][0]["clock_offset"] = None
    manifest.write(left.run, stated)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_spoil_line, f"requests-{WORKER}.csv: line 6: not a valid row of requests.csv; nothing was merged"),
        (_spoil_number, f"gaps-{WORKER}.csv: line 4: not a valid row of gaps.csv; nothing was merged"),
        (_other_run, "belongs to run another, not to r1"),
        (_unknown_worker, f"worker {WORKER} is not in this run (workers: somebody)"),
        (_old_header, "line 1: not the header of this version's requests.csv"),
        (_never_measured, "has no clock_offset for it"),
        (
            lambda left: (left.disk / f"worker-{WORKER}.json").unlink(),
            f"worker-{WORKER}.json, which names the run, is missing",
        ),
        (lambda left: left.files[0].unlink(), "No such file"),
        (lambda left: left.files[0].write_bytes(b"\xff\xfe\n"), "is not valid UTF-8"),
        (lambda left: (left.run / "run.json").unlink(), "no run here"),
    ],
)
def test_refuses_in_one_line_and_changes_nothing(
    left: Left, capsys: pytest.CaptureFixture[str], spoil: Any, said: str
) -> None:
    spoil(left)
    before = {path.name: path.read_bytes() for path in left.run.iterdir()}
    assert main(["merge", str(left.run), *map(str, left.files)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert {path.name: path.read_bytes() for path in left.run.iterdir()} == before


def test_rejects_files_with_other_names(left: Left) -> None:
    with pytest.raises(MergeError, match="the name must be"):
        merge.merge(left.run, [left.run / "users.csv"])
