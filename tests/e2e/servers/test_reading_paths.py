"""What read the sockets of a run: in its manifest, on its page, and in the calibration by which it is warned."""

import json
from pathlib import Path

import pytest

from probe_ext.client.wire.native.native_extension import NATIVE, NATIVE_VARIABLE, reading_path
from probe_ext.inspection.machine import calibration_store
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
SLOW = {"tokens_per_second": 60.0, "open_streams": 1000}


@pytest.mark.parametrize(("switch", "path"), [("1", reading_path()), ("0", "python: PROBE_NATIVE=0")])
def test_a_run_says_what_read_its_sockets_and_is_warned_by_what_that_can_do(
    sim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str, path: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calibration_store.save(SLOW)
    out = tmp_path / "run"
    line = [str(BIN / "probe"), "run", "capacity", "--host", sim, *LOAD, "--out", str(out)]
    run = finished(start(line, **{NATIVE_VARIABLE: switch}), out)
    assert run.code in {0, 3}, run.said  # 3: on a machine too busy for valid times
    calibrated = path.partition(":")[0] == calibration_store.key()["reading_path"]
    assert ("this plan may need 100 tokens/s" in run.said) is calibrated
    (worker,) = run.manifest["workers"]
    assert worker["reading_path"] == path
    assert worker["rows"] == worker["started"] > 2
    page = (out / "capacity.html").read_text(encoding="utf-8")
    assert page.count("sockets read by") == 1
    assert ("the C extension" if path == NATIVE else path) in page.partition("sockets read by")[2][:200]
    assert json.loads((out / "capacity.json").read_text())["levels"][0]["replies"] >= 2
