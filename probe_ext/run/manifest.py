"""`run.json`: what was run, on what, by whom; replaced as a whole whenever it changes."""

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from probe_ext.run.directory import MANIFEST

SCHEMA = 1

Manifest = dict[str, Any]


class ManifestError(Exception):
    """The manifest cannot be read; the message names file and reason."""


def write(directory: Path, manifest: Manifest) -> None:
    """Put the manifest in place so that a reader sees the old or the new one, never a part. OSError when it fails."""
    replace_text(directory / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False, default=str) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write beside, then rename over: whole or not at all."""
    replace_lines(path, [text])


def replace_lines(path: Path, lines: Iterable[str]) -> None:
    """The same, of many lines with their ends, that are never all in memory."""
    beside = path.with_name(path.name + ".new")
    try:
        with beside.open("w", encoding="utf-8", errors="replace") as file:  # a path may hold bytes that are no text
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)  # half written, it would only take room
        raise


def read(directory: Path) -> Manifest:
    """The manifest of a run directory. ManifestError when there is none, or none of a schema known here."""
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ManifestError(f"{directory}: no run here ({MANIFEST} is missing)") from error
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        found = manifest.get("schema") if isinstance(manifest, dict) else None
        raise ManifestError(f"{path}: schema: {found!r}, this version reads {SCHEMA}")
    return manifest
