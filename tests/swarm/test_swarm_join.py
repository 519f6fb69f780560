"""`probe worker`: what it refuses, and that several processes end as one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from probe_ext.cli import main

PROBE = Path(sys.executable).with_name("probe")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--master-host"),
        (["--master-host", "127.0.0.1", "--master-port", "70000"], "70000: is no port"),
        (["--master-host", "127.0.0.1", "--processes", "0"], "0: is no whole number of 1 or more"),
        (["--master-host", "127.0.0.1", "nonsense"], "nonsense: no scenario of this name"),
        (["--master-host", "no.such.host.invalid"], "--master-host no.such.host.invalid:"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["worker", *arguments])
    except SystemExit as end:
        code = int(str(end.code))
    assert code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_signal_reaches_every_process_of_a_worker_that_waits_for_its_master(tmp_path: Path) -> None:
    command = [PROBE, "worker", "--master-host", "127.0.0.1", "--master-port", "9", "--processes", "2"]
    parent = subprocess.Popen(command, cwd=tmp_path)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    try:
        until = time.monotonic() + 60  # noqa: TID251 - a test's own patience
        while len(pids := children.read_text().split()) < 2:
            assert time.monotonic() < until  # noqa: TID251
            time.sleep(0.05)
        parent.send_signal(signal.SIGTERM)
        parent.wait(60)
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(int(pid), 0)
    finally:
        if parent.poll() is None:
            parent.kill()
            parent.wait()
