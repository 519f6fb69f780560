"""The C extension of the native reading path: whether it is there, and whether it is used.

`reader.c` reads sockets and matches events without the interpreter. It is compiled at installation where there
is a C compiler. Without it everything works the same, but a token costs more CPU.
"""

import importlib
import os
import zlib
from functools import cache
from pathlib import Path
from typing import Any

from probe_ext.client.wire.portable_switch import PORTABLE_VARIABLE, is_portable

NATIVE_VARIABLE = "PROBE_NATIVE"
NATIVE, PYTHON = "native", "python"
_FOLDER = Path(__file__).parent


def reader_module() -> Any:
    """Return the extension module; None where it is missing or switched off."""
    return None if _switched_off() else _load()[0]


def reading_path(*, tls: bool = False) -> str:
    """Return which path reads a connection: `native`, or `python` with the reason, such as `python: not built`."""
    reason = _switched_off() or _load()[1] or ("TLS" if tls else None)
    return NATIVE if reason is None else f"{PYTHON}: {reason}"


def _switched_off() -> str | None:
    if os.environ.get(NATIVE_VARIABLE) == "0":
        return f"{NATIVE_VARIABLE}=0"
    return PORTABLE_VARIABLE if is_portable() else None


@cache
def _load() -> tuple[Any, str | None]:
    """Return the module, or None and why it can't be used."""
    try:
        module = importlib.import_module("probe_ext.client.wire.native._reader")
    except ModuleNotFoundError:
        return None, "not built"
    except ImportError as error:
        return None, f"cannot be loaded: {error}"
    if getattr(module, "SOURCES", None) != _checksum_of_sources():
        return None, "built from another version"
    return module, None


def _checksum_of_sources() -> int:
    """As `hatch_build.py` computes it."""
    checksum = 0
    for path in sorted([*_FOLDER.glob("*.c"), *_FOLDER.glob("*.h")]):
        checksum = zlib.crc32(path.read_bytes(), checksum)
    return checksum
