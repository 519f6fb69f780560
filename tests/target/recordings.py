"""Recorded responses."""

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "fixtures" / "recordings"
PAGES = sorted(path for path in FOLDER.glob("*metrics*.txt") if not path.name.startswith("sse_"))


def read(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
