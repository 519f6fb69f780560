"""Each input of the estimator is estimated once in a process, and each table parsed once.

The tests judge the same few runs thousands of times, often after a change of one file. Without this, four of five
seconds that they spend on estimates, and most of those on tables, go into such repetitions. An estimate depends on its
arguments alone, and is frozen; a table depends on its name and bytes, and each reader gets a copy.
`tests/verdict/inference` calls some functions below the estimator directly.
"""

import pickle
import stat
import sys
from collections.abc import Callable
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its results kept by the content of the arguments."""
    known: dict[bytes, Any] = {}

    def recall(*arguments: Any, **named: Any) -> Any:
        key = sha256(pickle.dumps((arguments, sorted(named.items())))).digest()
        if key not in known:
            known[key] = function(*arguments, **named)
        return known[key]

    return recall


MAX_BYTES = 1 << 20
"""of a table that is remembered"""


def remembered_tables(read: Callable[[Path, Any, list[str]], Any]) -> Callable[[Path, Any, list[str]], Any]:
    """Return the reader of tables with its results kept by the name and the bytes of the file."""
    known: dict[tuple[str, Any, bytes], tuple[Any, list[str]]] = {}

    def recall(path: Path, row_type: Any, damage: list[str]) -> Any:
        try:
            file = path.lstat()
            if not stat.S_ISREG(file.st_mode) or file.st_size > MAX_BYTES:
                return read(path, row_type, damage)
            key = path.name, row_type, sha256(path.read_bytes()).digest()
        except OSError:
            return read(path, row_type, damage)
        if key not in known:
            found: list[str] = []
            known[key] = read(path, row_type, found), found
        table, found = known[key]
        damage += found
        return deepcopy(table)

    return recall


class Remembering:
    """A hook that replaces both, once tests have imported them; `estimate`, imported by name, calls the first."""

    def pytest_collection_finish(self) -> None:
        """Replace both for the whole session."""
        from probe_ext.verdict.inference import estimate  # noqa: PLC0415 - after coverage has begun

        pytest.MonkeyPatch().setattr(estimate, "_estimate", remembered(estimate._estimate))
        if csvs := sys.modules.get("probe_ext.report.inputs.csvs"):  # or no collected test reads tables
            pytest.MonkeyPatch().setattr(csvs, "read", remembered_tables(csvs.read))
