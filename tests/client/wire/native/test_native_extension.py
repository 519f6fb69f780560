"""The C extension: where it is missing, broken or switched off, replies are read by Python."""

import importlib.util
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from probe_ext.client.wire import kernel_receive
from probe_ext.client.wire.address import parse_target
from probe_ext.client.wire.connection import Connection
from probe_ext.client.wire.native import native_extension
from probe_ext.client.wire.native.native_extension import NATIVE, NATIVE_VARIABLE, reading_path
from probe_ext.client.wire.portable_switch import PORTABLE_VARIABLE

ROOT = Path(__file__).parents[4]
IMPORT = """
import sys
sys.path.insert(0, {root!r})
import probe_ext.client.wire.native as package
package.__path__ = [{folder!r}, *package.__path__]
from probe_ext.client.wire.native.native_extension import reading_path
print(reading_path())
"""


def path_with(library: Path) -> str:
    """Return the reading path of a process that finds this folder's library first."""
    environment = {k: v for k, v in os.environ.items() if k not in {NATIVE_VARIABLE, PORTABLE_VARIABLE}}
    program = IMPORT.format(root=str(ROOT), folder=str(library))
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    return ran.stdout.strip()


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [(NATIVE_VARIABLE, "0", "PROBE_NATIVE=0"), (PORTABLE_VARIABLE, "1", "PROBE_PORTABLE")],
)
def test_is_switched_off(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str) -> None:
    monkeypatch.delenv(NATIVE_VARIABLE, raising=False)
    monkeypatch.setenv(variable, value)
    assert native_extension.reader_module() is None
    assert reading_path() == f"python: {reason}"


def test_a_broken_library_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "_reader.abi3.so").write_bytes(b"\x7fELF, but no further")
    assert path_with(tmp_path).startswith("python: cannot be loaded: ")


def test_a_library_of_another_version_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "_reader.py").write_text("SOURCES = 0\n")
    assert path_with(tmp_path) == "python: built from another version"


@pytest.mark.skipif(reading_path() != NATIVE, reason=f"NOT CHECKED: {reading_path()}")
def test_the_sources_decide_where_they_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native_extension, "_FOLDER", tmp_path)
    load = native_extension._load.__wrapped__
    assert load()[0] is not None, "a wheel has no sources"
    (tmp_path / "events.h").write_text("/* another one */")
    assert load() == (None, "built from another version")


def test_says_if_it_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NATIVE_VARIABLE, raising=False)
    monkeypatch.delenv(PORTABLE_VARIABLE, raising=False)
    monkeypatch.setattr(native_extension, "_load", lambda: (None, "not built"))
    assert native_extension.reader_module() is None
    assert reading_path() == "python: not built"


@pytest.mark.skipif(reading_path() != NATIVE, reason=f"NOT CHECKED: {reading_path()}")
def test_a_connection_without_kernel_timestamps_is_read_by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_receive, "enable_timestamps", lambda _: False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = Connection(parse_target(f"http://127.0.0.1:{server.getsockname()[1]}"), None)
        connection.open(10.0)
        assert connection.reading_path == "python: no kernel timestamps"
        connection.close()


LIBRARY = Path(native_extension.__file__).with_name("_reader.abi3.so")
is_built = pytest.mark.skipif(not LIBRARY.exists(), reason="NOT CHECKED: not built")


@is_built
def test_a_library_that_is_built_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or all tests of the extension would be left out: `python hatch_build.py` builds it anew."""
    monkeypatch.delenv(NATIVE_VARIABLE, raising=False)
    monkeypatch.delenv(PORTABLE_VARIABLE, raising=False)
    assert reading_path() == NATIVE


@is_built
@pytest.mark.skipif(shutil.which("readelf") is None, reason="NOT CHECKED: no readelf")
def test_the_library_needs_the_c_library_only() -> None:
    """OpenSSL is looked up where Python has it, and Python is the process itself: neither is linked."""
    listed = subprocess.run(["readelf", "--dynamic", LIBRARY], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(lib\w+|ld)\b", listed))
    assert "libc" in needed
    assert needed - {"libasan", "libubsan"} <= {"libc", "libpthread", "ld"}


def hatch_build() -> object:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"CC": "no-such-compiler"}, "no C compiler (no-such-compiler)"),
        ({"CC": "false"}, "false: it fails"),
        ({"CC": "cc '"}, "CC or CFLAGS: No closing quotation"),
        ({"CFLAGS": "--no-such-option"}, "error"),
        ({NATIVE_VARIABLE: "0"}, "PROBE_NATIVE=0"),
    ],
)
def test_says_in_one_line_why_it_is_not_compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], reason: str
) -> None:
    monkeypatch.delenv(NATIVE_VARIABLE, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    build = hatch_build()
    with pytest.raises(build.NotBuiltError) as caught:  # type: ignore[attr-defined]
        build.compile_extension(tmp_path / "_reader.abi3.so")  # type: ignore[attr-defined]
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("owner", "name", "value"), [(platform, "python_implementation", lambda: "PyPy"), (sys, "platform", "darwin")]
)
def test_is_not_compiled_on_other_platforms(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, owner: object, name: str, value: object
) -> None:
    monkeypatch.delenv(NATIVE_VARIABLE, raising=False)
    build = hatch_build()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, value)
        with pytest.raises(build.NotBuiltError, match="CPython on Linux"):  # type: ignore[attr-defined]
            build.compile_extension(tmp_path / "_reader.abi3.so")  # type: ignore[attr-defined]
