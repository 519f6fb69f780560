"""Compile the native reading path, `probe_ext/client/wire/native/reader.c`; build pure Python where that is impossible.

Run by `pip install` through hatchling, and by itself: `python hatch_build.py` compiles into the source tree.
"""

import contextlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zlib
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by itself, where hatchling need not be installed
    BuildHookInterface = object

ROOT = Path(__file__).resolve().parent
SOURCE = ROOT / "probe_ext" / "client" / "wire" / "native" / "reader.c"
LIBRARY = SOURCE.with_name("_reader.abi3.so")
WITHOUT = "installed without the C extension, so a token costs more CPU; measured times are the same"
FLAGS = [
    "-O2",
    "-std=gnu11",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Wno-cast-function-type",
    "-fPIC",
    "-fvisibility=hidden",
    "-pthread",
]


class NotBuiltError(Exception):
    """The extension can't be compiled; the message says why, in one line."""


def checksum_of_sources() -> int:
    """Return by which `native_extension.py` knows that a library was built from the sources beside it."""
    checksum = 0
    for path in sorted([*SOURCE.parent.glob("*.c"), *SOURCE.parent.glob("*.h")]):
        checksum = zlib.crc32(path.read_bytes(), checksum)
    return checksum


def compile_extension(library: Path, *more: str) -> None:
    """Compile the extension. NotBuiltError where that is impossible or switched off (PROBE_NATIVE=0)."""
    if os.environ.get("PROBE_NATIVE") == "0":
        raise NotBuiltError("PROBE_NATIVE=0")
    if not sys.platform.startswith("linux") or platform.python_implementation() != "CPython":
        raise NotBuiltError("it is for CPython on Linux")
    try:
        compiler, flags = (shlex.split(os.environ.get(name, "")) for name in ("CC", "CFLAGS"))
    except ValueError as error:
        raise NotBuiltError(f"CC or CFLAGS: {error}") from error
    compiler = compiler or ["cc"]
    if shutil.which(compiler[0]) is None:
        raise NotBuiltError(f"no C compiler ({compiler[0]})")
    include = [f"-I{sysconfig.get_path('include')}", f"-DSOURCES={checksum_of_sources()}u"]
    target = library.with_name(f".{library.name}.{os.getpid()}")  # a running process may have the old one loaded
    command = [*compiler, *FLAGS, *flags, *include, "-shared", str(SOURCE)]
    try:
        completed = subprocess.run(
            [*command, "-o", str(target), *more],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if completed.returncode or not target.exists():
            lines = [line for line in completed.stderr.splitlines() if "error" in line] or ["it fails"]
            raise NotBuiltError(f"{shlex.join(compiler)}: {lines[0]}")
        target.replace(library)
    except OSError as error:
        raise NotBuiltError(str(error)) from error
    finally:
        target.unlink(missing_ok=True)


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc, valid-type, unused-ignore]
    """Adds the compiled extension to the wheel; hatchling finds the hook by its base class."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into the source tree for an editable installation, else beside it."""
        if self.target_name != "wheel":
            return
        editable = version == "editable"
        try:
            if editable:
                with contextlib.suppress(OSError):  # a tree that is only read keeps its own
                    LIBRARY.unlink(missing_ok=True)  # no older one, if this fails
                compile_extension(LIBRARY)
            else:
                self._place = tempfile.TemporaryDirectory(prefix="probe-native-")
                library = Path(self._place.name) / LIBRARY.name
                compile_extension(library)
                build_data["force_include"][str(library)] = str(LIBRARY.relative_to(ROOT))
        except NotBuiltError as error:
            print(f"probe-ext: {WITHOUT} ({error})", file=sys.stderr)
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{_platform_tag()}"


def _platform_tag() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def main() -> int:
    """Compile into the source tree, with further options of the compiler as arguments; 1 if that fails."""
    try:
        compile_extension(LIBRARY, *sys.argv[1:])
    except NotBuiltError as error:
        print(f"not compiled: {error}", file=sys.stderr)
        return 1
    print(f"compiled: {LIBRARY.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
