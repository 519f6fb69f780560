"""A run says what read its sockets, in its manifest and on its page."""

from pathlib import Path

import pytest

from probe_ext.client.wire.native.native_extension import NATIVE, NATIVE_VARIABLE, reading_path
from tests.e2e.conftest import BIN, finished, start

LOAD = (
    "--levels",
    "2",
    "--hold",
    "2s",
    "--settle",
    "0s",
    "--min-replies",
    "1",
    "--max-tokens",
    "16",
    "--warm-up",
    "off",
)


@pytest.mark.parametrize(("switch", "path"), [("1", reading_path()), ("0", "python: PROBE_NATIVE=0")])
def test_manifest_and_page_say_what_read_the_sockets(sim: str, tmp_path: Path, switch: str, path: str) -> None:
    out = tmp_path / "run"
    line = [str(BIN / "probe"), "run", "capacity", "--host", sim, *LOAD, "--out", str(out)]
    run = finished(start(line, **{NATIVE_VARIABLE: switch}), out)
    assert run.code in {0, 3}, run.said  # 3: on a machine too busy for valid times
    (worker,) = run.manifest["workers"]
    assert worker["reading_path"] == path
    assert worker["rows"] == worker["started"] > 2
    page = (out / "capacity.html").read_text(encoding="utf-8")
    assert page.count("sockets read by") == 1
    assert ("the C extension" if path == NATIVE else path) in page.partition("sockets read by")[2][:200]
