"""`run.json`, the manifest of a run; always replaced as a whole."""

import contextlib
import io
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from probe_ext.measure.safe_text import all_printable
from probe_ext.run.directory import MANIFEST
from probe_ext.run.regular_files import check_regular, create_new

SCHEMA = 2
MAX_BYTES = 64 * 1024 * 1024
_MAX_DIGITS = 18  # of an integer: what every consumer of the files can hold
_RENAMED_IN_SCHEMA_2 = {"ruler": "calibration"}

Manifest = dict[str, Any]


class ManifestError(Exception):
    """The manifest cannot be used; the message names file and reason."""


def write(directory: Path, manifest: Manifest) -> None:
    """Replace the manifest atomically. OSError if that fails."""
    replace_text(directory / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False, default=str) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Replace a file atomically: readers see the old or the new content. OSError if that fails."""
    replace_lines(path, [text])


def replace_lines(path: Path, lines: Iterable[str]) -> None:
    """Like replace_text, for lines (with their line ends) that need not fit into memory."""
    new = path.with_name(path.name + ".new")
    try:
        with io.TextIOWrapper(create_new(new), "utf-8", "replace") as file:  # paths in it may not be valid UTF-8
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)  # free the space on a full disk
        raise


def read(directory: Path) -> Manifest:
    """Return the manifest of a run directory in the current schema. ManifestError if missing, damaged or too new."""
    path = directory / MANIFEST
    try:
        check_regular(path, MAX_BYTES)
        manifest = parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ManifestError(f"{directory}: no run here ({MANIFEST} is missing)") from error
    except RecursionError as error:
        raise ManifestError(f"{path}: cannot be read: nested too deeply") from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ManifestError(f"{path}: cannot be read: {why}") from error
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema not in range(1, SCHEMA + 1):
        raise ManifestError(f"{path}: schema: {schema!r} is not supported (this version reads 1 to {SCHEMA})")
    return _upgraded(manifest)


def parsed(text: str) -> Any:
    """Return the content of a JSON file from elsewhere: text printable, numbers of usual size, None for infinite ones.

    ValueError or RecursionError if it cannot be parsed.
    """
    return all_printable(json.loads(text, parse_int=_bounded, parse_float=_finite, parse_constant=lambda _: None))


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _bounded(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of more than {_MAX_DIGITS} digits")
    return int(text)


def _upgraded(manifest: Manifest) -> Manifest:
    """Map the keys of older schemas to their current names."""
    if manifest["schema"] < 2:
        manifest = {_RENAMED_IN_SCHEMA_2.get(key, key): value for key, value in manifest.items()}
    return {**manifest, "schema": SCHEMA}
