"""`probe worker`: wrong usage, signals, and waiting for the master."""

import os
import signal
import socket
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
        (["--master-host", "127.0.0.1", "--master-port", "70000"], "'70000' is not a valid port"),
        (["--master-host", "127.0.0.1", "--processes", "0"], "'0' is not a positive integer"),
        (["--master-host", "127.0.0.1", "nonsense"], "nonsense: unknown scenario"),
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


def test_signal_reaches_every_waiting_process(tmp_path: Path) -> None:
    """Something that is not a master listens there."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        command = [PROBE, "worker", "--master-host", "127.0.0.1", "--master-port", port, "--processes", "2"]
        parent = subprocess.Popen(command, cwd=tmp_path)
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        try:
            until = time.monotonic() + 300  # noqa: TID251 - a test's own patience
            while len(pids := children.read_text().split()) < 2:
                assert time.monotonic() < until  # noqa: TID251
                time.sleep(0.05)
            parent.send_signal(signal.SIGTERM)
            parent.wait(300)
            for pid in pids:
                with pytest.raises(ProcessLookupError):
                    os.kill(int(pid), 0)
        finally:
            if parent.poll() is None:
                parent.kill()
                parent.wait()


def test_waiting_worker_exits_at_once_on_ctrl_c(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])  # nothing listens there from here on
    command = [PROBE, "worker", "--master-host", "127.0.0.1", "--master-port", port, "--processes", "2"]
    worker = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        assert worker.stderr is not None
        assert f"no master at 127.0.0.1:{port} yet" in worker.stderr.readline()
        worker.send_signal(signal.SIGINT)
        assert worker.wait(300) == 130
        assert worker.stderr.read() == ""
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
