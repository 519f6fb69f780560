"""Recorded responses."""

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "fixtures" / "recordings"
PAGES = sorted(FOLDER.glob("*metrics*.txt"))


def read(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
