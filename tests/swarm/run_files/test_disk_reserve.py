"""Disk space reserved for a run's last files."""

import os
from pathlib import Path

import pytest

from probe_ext.swarm.run_files import disk_reserve


def on_disk(held: disk_reserve.DiskReserve) -> int:
    """Return the bytes allocated on the disk."""
    return os.fstat(held._file.fileno()).st_blocks * 512 if held._file else 0


def test_reserves_space_without_a_visible_file(tmp_path: Path) -> None:
    held = disk_reserve.DiskReserve(tmp_path, disk_reserve.FOR_MANIFEST)
    assert on_disk(held) >= disk_reserve.FOR_MANIFEST
    assert list(tmp_path.iterdir()) == []  # nothing to clean up after a kill
    held.free()
    assert on_disk(held) == 0
    held.free()


def test_full_disk_is_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk_reserve.os, "posix_fallocate", full)
    held = disk_reserve.DiskReserve(tmp_path, disk_reserve.FOR_ROWS)
    assert on_disk(held) == 0
    held.free()
    assert not disk_reserve.DiskReserve(tmp_path / "gone", disk_reserve.FOR_ROWS)._file
