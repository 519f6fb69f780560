"""The directory of a new run, and its manifest, which is replaced atomically."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from probe_ext.measure import clock
from probe_ext.run import directory, manifest
from probe_ext.run.directory import RunDirectoryError, contains_run, make_run_directory
from probe_ext.run.manifest import ManifestError


def make_run(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name in ("run.json", "requests.csv", "requests-w1.csv", "gaps.csv", "sketches.jsonl", "locust_stats.csv"):
        (path / name).write_text("old")
    return path


def test_makes_a_new_directory_with_its_parents(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    assert make_run_directory(out, "capacity", force=False, numbered=False) == out
    assert list(out.iterdir()) == []


def test_uses_a_directory_without_a_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert make_run_directory(tmp_path, "capacity", force=False, numbered=False) == tmp_path
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["run.json", "requests.csv"])
def test_rejects_a_directory_with_a_run_and_does_not_touch_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("old")
    with pytest.raises(RunDirectoryError, match=f"--out {re.escape(str(tmp_path))}: already contains a run.*--force"):
        make_run_directory(tmp_path, "capacity", force=False, numbered=False)
    assert (tmp_path / name).read_text() == "old"


def test_force_removes_only_the_files_of_the_run(tmp_path: Path) -> None:
    out = make_run(tmp_path / "out")
    (out / "notes.txt").write_text("mine")
    (out / "requests.csv.bak").write_text("mine")
    (out / "gaps-of-mine").mkdir()
    (out / "gaps-w2.csv").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "run.json").write_text("theirs")
    (out / "linked").symlink_to(elsewhere)
    (out / "users.csv").symlink_to(elsewhere / "run.json")
    assert make_run_directory(out, "capacity", force=True, numbered=False) == out
    assert not contains_run(out)
    left = {entry.name for entry in out.iterdir()}
    assert left == {"notes.txt", "requests.csv.bak", "gaps-of-mine", "gaps-w2.csv", "linked"}
    assert (elsewhere / "run.json").read_text() == "theirs"


def test_force_removes_every_kind_of_file_that_a_run_writes(tmp_path: Path) -> None:
    names = [value for key, value in vars(directory).items() if key.isupper() and isinstance(value, str)]
    written = {name for name in names if "." in name and name not in directory._OTHER_OUTPUTS}
    written |= {"requests-w.csv", "gaps-w.csv", "run.json.new"}
    written |= {"locust_stats.csv", "locust_stats_history.csv", "locust_failures.csv", "locust_exceptions.csv"}
    assert len(written) > 12
    for name in written:
        (tmp_path / name).write_text("old")
    make_run_directory(tmp_path, "capacity", force=True, numbered=False)
    assert list(tmp_path.iterdir()) == []


def test_numbered_runs_get_the_next_number(tmp_path: Path) -> None:
    out = tmp_path / "out"
    directories = []
    for _ in range(3):
        directories.append(make_run_directory(out, "capacity", force=False, numbered=True))
        make_run(directories[-1])
    assert [path.name for path in directories] == ["out", "out-2", "out-3"]


def test_the_default_directory_is_named_by_time_and_scenario_and_is_always_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(directory.clock, "wall", lambda: 0.0)
    first = make_run_directory(None, "capacity", force=False, numbered=False)
    make_run(first)
    second = make_run_directory(None, "capacity", force=True, numbered=False)
    assert first == Path("reports/runs/19700101T000000Z-capacity")
    assert second == Path("reports/runs/19700101T000000Z-capacity-2")
    assert contains_run(first)


def test_rejects_a_path_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    for out in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(RunDirectoryError, match=f"--out {re.escape(str(out))}: cannot be created"):
            make_run_directory(out, "capacity", force=False, numbered=False)
    assert (tmp_path / "out").read_text() == "a file"


def test_a_directory_that_cannot_be_made_is_not_called_unwritable() -> None:
    with pytest.raises(RunDirectoryError, match=r"^--out /proc/no-such: cannot be created: No such file or directory$"):
        make_run_directory(Path("/proc/no-such"), "capacity", force=False, numbered=False)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("tap.json", "a recording of probe tap"),
        ("requests.jsonl", "a recording of probe tap"),
        ("compare.json", "a comparison"),
    ],
)
def test_rejects_a_directory_with_what_another_command_wrote(
    name: str, what: str, tmp_path: Path, *, force: bool
) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(RunDirectoryError, match=f": contains {what}, not a run; choose another directory$"):
        make_run_directory(tmp_path, "capacity", force=force, numbered=False)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_rejects_a_read_only_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:  # root may write anywhere: simulate the error

        def deny(path: Path, data: bytes) -> int:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "write_bytes", deny)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunDirectoryError, match="cannot be written: Permission denied"):
            make_run_directory(tmp_path, "capacity", force=False, numbered=False)
    finally:
        tmp_path.chmod(0o700)


def test_rejects_an_unreadable_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(directory, "contains_run", deny)
    with pytest.raises(RunDirectoryError, match="cannot be written: Permission denied"):
        make_run_directory(tmp_path, "capacity", force=False, numbered=False)


def test_a_failed_write_check_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_bytes

    def half(path: Path, data: bytes) -> int:
        real(path, data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(RunDirectoryError, match="No space left"):
        make_run_directory(tmp_path, "capacity", force=False, numbered=False)
    assert list(tmp_path.iterdir()) == []


def test_reads_back_the_manifest(tmp_path: Path) -> None:
    written = {"schema": 2, "run_id": "größe", "options": {"levels": [1, 2], "model": None}, "duration": 1.5}
    manifest.write(tmp_path, written)
    assert manifest.read(tmp_path) == written
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_replaces_the_manifest_atomically(tmp_path: Path) -> None:
    manifest.write(tmp_path, {"schema": 2, "padding": "x" * 5000})
    old = (tmp_path / "run.json").open()
    manifest.write(tmp_path, {"schema": 2, "n": 2})
    assert json.loads(old.read())["padding"]  # an open reader still sees all of the old one
    old.close()
    assert manifest.read(tmp_path) == {"schema": 2, "n": 2}


def test_a_full_disk_keeps_the_old_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest.write(tmp_path, {"schema": 2, "n": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        manifest.write(tmp_path, {"schema": 2, "n": 2})
    assert manifest.read(tmp_path) == {"schema": 2, "n": 1}


def test_writes_paths_that_are_not_valid_utf8(tmp_path: Path) -> None:
    manifest.write(tmp_path, {"schema": 2, "options": {"out": "caf\udce9", "path": tmp_path}})
    assert manifest.read(tmp_path)["options"] == {"out": "caf?", "path": str(tmp_path)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no run here"),
        ("", "cannot be read"),
        ('{"schema": 2', "cannot be read"),
        ("\x00\x01", "cannot be read"),
        ("[]", "schema: None"),
        ("{}", "schema: None"),
        ('{"schema": 3}', "schema: 3 is not supported (this version reads 1 to 2)"),
        ('{"schema": "1"}', "schema: '1'"),
    ],
)
def test_errors_name_the_file_and_the_reason(tmp_path: Path, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(ManifestError, match=re.escape(why)) as caught:
        manifest.read(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_runs_started_in_the_same_second_get_separate_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(clock, "wall", lambda: 1.7e9)
    paths = [make_run_directory(None, "capacity", force=False, numbered=False) for _ in range(3)]
    assert len(set(paths)) == 3
    assert all(path.is_dir() for path in paths)


def test_maps_schema_1_to_current_names(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"schema": 1, "ruler": {"gap_error_p99": 1e-5}, "run_id": "r1"}')
    assert manifest.read(tmp_path) == {
        "schema": manifest.SCHEMA,
        "calibration": {"gap_error_p99": 1e-5},
        "run_id": "r1",
    }


_HOLD = """
import sys
from pathlib import Path
from probe_ext.run.directory import make_run_directory
make_run_directory(Path(sys.argv[1]), "capacity", force=True, numbered=False)
(Path(sys.argv[1]) / "run.json").write_text("live")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_run_without_a_reply_is_replaced(tmp_path: Path) -> None:
    def made() -> Path:
        return make_run_directory(tmp_path, "capacity", force=False, numbered=False)

    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "requests.csv").write_text("reply_id,worker\n")
    (tmp_path / "requests-w1.csv").write_text("reply_id,worker\nw1:1,w1\n")
    with pytest.raises(RunDirectoryError, match="already contains"):
        made()
    (tmp_path / "requests-w1.csv").unlink()
    assert made() == tmp_path
    assert not contains_run(tmp_path)


@pytest.mark.parametrize("killed", [False, True])
def test_force_into_a_live_run_is_refused(tmp_path: Path, *, killed: bool) -> None:
    out = tmp_path / "out"
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        for force in (True, False):
            with pytest.raises(RunDirectoryError, match=r"still going on|already contains"):
                make_run_directory(out, "capacity", force=force, numbered=False)
        assert (out / "run.json").read_text() == "live"
    finally:
        if killed:
            holder.kill()
        holder.communicate()
    assert make_run_directory(out, "capacity", force=True, numbered=False) == out  # its end frees it, however it ended
    assert not contains_run(out)


def test_a_directory_can_be_used_again_by_the_same_process(tmp_path: Path) -> None:
    for _ in range(2):
        make_run_directory(tmp_path / "out", "capacity", force=True, numbered=False)


def test_a_full_disk_is_named_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 5000))
    with pytest.raises(RunDirectoryError, match=r"the disk is full \(5 kB free\)"):
        make_run_directory(tmp_path / "out", "capacity", force=False, numbered=False)
