"""Where a run's files lie: fresh, refused, replaced or numbered; and its manifest, whole or not at all."""

import json
import os
import re
from pathlib import Path

import pytest

from probe_ext.measure import clock
from probe_ext.run import directory, manifest
from probe_ext.run.directory import RunDirectoryError, fresh, holds_run
from probe_ext.run.manifest import ManifestError


def a_run(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name in ("run.json", "requests.csv", "requests-w1.csv", "gaps.csv", "sketches.jsonl", "locust_stats.csv"):
        (path / name).write_text("old")
    return path


def test_a_new_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    asked = tmp_path / "a" / "b"
    assert fresh(asked, "capacity", force=False, numbered=False) == asked
    assert list(asked.iterdir()) == []


def test_a_directory_that_holds_no_run_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert fresh(tmp_path, "capacity", force=False, numbered=False) == tmp_path
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["run.json", "requests.csv"])
def test_a_directory_that_holds_a_run_is_refused_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("old")
    with pytest.raises(RunDirectoryError, match=f"--out {re.escape(str(tmp_path))}: holds a run already.*--force"):
        fresh(tmp_path, "capacity", force=False, numbered=False)
    assert (tmp_path / name).read_text() == "old"


def test_force_removes_the_run_and_nothing_else(tmp_path: Path) -> None:
    out = a_run(tmp_path / "out")
    (out / "notes.txt").write_text("mine")
    (out / "requests.csv.bak").write_text("mine")
    (out / "gaps-of-mine").mkdir()
    (out / "gaps-w2.csv").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "run.json").write_text("theirs")
    (out / "linked").symlink_to(elsewhere)
    (out / "users.csv").symlink_to(elsewhere / "run.json")
    assert fresh(out, "capacity", force=True, numbered=False) == out
    assert not holds_run(out)
    left = {entry.name for entry in out.iterdir()}
    assert left == {"notes.txt", "requests.csv.bak", "gaps-of-mine", "gaps-w2.csv", "linked"}
    assert (elsewhere / "run.json").read_text() == "theirs"


def test_force_removes_all_that_a_run_may_have_written(tmp_path: Path) -> None:
    names = [value for key, value in vars(directory).items() if key.isupper() and isinstance(value, str)]
    written = {name for name in names if "." in name} | {"requests-w.csv", "gaps-w.csv", "run.json.new"}
    written |= {"locust_stats.csv", "locust_stats_history.csv", "locust_failures.csv", "locust_exceptions.csv"}
    assert len(written) > 12
    for name in written:
        (tmp_path / name).write_text("old")
    fresh(tmp_path, "capacity", force=True, numbered=False)
    assert list(tmp_path.iterdir()) == []


def test_a_further_run_of_one_web_ui_takes_the_next_number(tmp_path: Path) -> None:
    asked = tmp_path / "out"
    made = []
    for _ in range(3):
        made.append(fresh(asked, "capacity", force=False, numbered=True))
        a_run(made[-1])
    assert [path.name for path in made] == ["out", "out-2", "out-3"]


def test_without_a_wish_it_lies_under_reports_by_time_and_scenario_and_never_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(directory.clock, "wall", lambda: 0.0)
    first = fresh(None, "capacity", force=False, numbered=False)
    a_run(first)
    second = fresh(None, "capacity", force=True, numbered=False)
    assert first == Path("reports/runs/19700101T000000Z-capacity")
    assert second == Path("reports/runs/19700101T000000Z-capacity-2")
    assert holds_run(first)


def test_a_file_in_the_way_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    for asked in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(RunDirectoryError, match=f"--out {re.escape(str(asked))}: cannot be written"):
            fresh(asked, "capacity", force=False, numbered=False)
    assert (tmp_path / "out").read_text() == "a file"


def test_a_read_only_directory_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:  # root may write anywhere: let the system refuse in its place

        def refuse(path: Path, data: bytes) -> int:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "write_bytes", refuse)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunDirectoryError, match="cannot be written: Permission denied"):
            fresh(tmp_path, "capacity", force=False, numbered=False)
    finally:
        tmp_path.chmod(0o700)


def test_a_directory_that_may_not_even_be_looked_at_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hidden(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(directory, "holds_run", hidden)
    with pytest.raises(RunDirectoryError, match="cannot be written: Permission denied"):
        fresh(tmp_path, "capacity", force=False, numbered=False)


def test_a_trial_that_fails_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_bytes

    def half(path: Path, data: bytes) -> int:
        real(path, data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(RunDirectoryError, match="No space left"):
        fresh(tmp_path, "capacity", force=False, numbered=False)
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = {"schema": 1, "run_id": "größe", "options": {"levels": [1, 2], "model": None}, "duration": 1.5}
    manifest.write(tmp_path, written)
    assert manifest.read(tmp_path) == written
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_a_manifest_is_replaced_as_a_whole(tmp_path: Path) -> None:
    manifest.write(tmp_path, {"schema": 1, "padding": "x" * 5000})
    old = (tmp_path / "run.json").open()
    manifest.write(tmp_path, {"schema": 1, "n": 2})
    assert json.loads(old.read())["padding"]  # whoever reads the old one still reads all of it
    old.close()
    assert manifest.read(tmp_path) == {"schema": 1, "n": 2}


def test_a_disk_that_fills_while_a_manifest_is_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest.write(tmp_path, {"schema": 1, "n": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        manifest.write(tmp_path, {"schema": 1, "n": 2})
    assert manifest.read(tmp_path) == {"schema": 1, "n": 1}


def test_bytes_in_a_path_that_are_no_text_do_not_stop_the_manifest(tmp_path: Path) -> None:
    manifest.write(tmp_path, {"schema": 1, "options": {"out": "caf\udce9", "path": tmp_path}})
    assert manifest.read(tmp_path)["options"] == {"out": "caf?", "path": str(tmp_path)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no run here"),
        ("", "cannot be read"),
        ('{"schema": 1', "cannot be read"),
        ("\x00\x01", "cannot be read"),
        ("[]", "schema: None"),
        ("{}", "schema: None"),
        ('{"schema": 2}', "schema: 2, this version reads 1"),
        ('{"schema": "1"}', "schema: '1'"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused_with_file_and_reason(
    tmp_path: Path, text: str | None, why: str
) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(ManifestError, match=re.escape(why)) as refused:
        manifest.read(tmp_path)
    assert str(tmp_path) in str(refused.value)


def test_runs_that_begin_in_one_second_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(clock, "wall", lambda: 1.7e9)
    places = [fresh(None, "capacity", force=False, numbered=False) for _ in range(3)]  # none has written anything yet
    assert len(set(places)) == 3
    assert all(place.is_dir() for place in places)
