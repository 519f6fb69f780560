"""`probe tap` from the command line: errors in one line, Ctrl-C with the report written, recordings shown again."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from probe_ext import cli
from probe_ext.exit_codes import ExitCode
from tests.in_process_sim import running_sim

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "tap: give either --upstream URL, to record, or the folder of a recording"),
        (["rec", "--upstream", "http://127.0.0.1:1"], "tap: give either"),
        (["--upstream", "ftp://x"], "--upstream ftp://x: scheme must be http or https, not 'ftp'"),
        (["--upstream", "http://me:secret@x"], "--upstream: must not contain a user name or password"),
        (["--upstream", "http://x", "--port", "70000"], "--port 70000: must be between 0 and 65535"),
        (["--upstream", "http://x", "--timeout", "soon"], "--timeout soon: "),
        (["--upstream", "http://x", "--timeout", "0.5s"], "--timeout 0.5s: must be at least 1s"),
        (["--upstream", "http://x", "--serve-key", "k.pem"], "--serve-key k.pem: needs --serve-cert as well"),
        (["--upstream", "http://x", "--serve-cert", "/none.pem"], "--serve-cert /none.pem: is not a certificate"),
        (["--upstream", "https://x", "--tls-ca", "/none.pem"], "--tls-ca /none.pem: "),
        (["/none"], "/none/tap.json: No such file or directory; give the folder that probe tap wrote"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tap", *arguments]) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert error.startswith(f"probe: {problem}")
    assert error.count("\n") == 1


def test_a_taken_port_leaves_no_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = ["tap", "--upstream", "http://127.0.0.1:1", "--port", str(port), "--out", str(tmp_path / "rec")]
        assert cli.main(given) == ExitCode.USAGE
    assert f"--port {port}: already in use" in capsys.readouterr().err
    assert not (tmp_path / "rec").exists()


def test_ctrl_c_writes_the_report_and_the_recording_can_be_shown_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_sim() as sim:
        given = ["tap", "--upstream", sim.url, "--port", "0", "--out", str(tmp_path / "rec")]
        command = [sys.executable, "-m", "probe_ext", *given]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip(",")
        body = {"model": "demo-1b", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
        request = urllib.request.Request(
            f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as reply:
            assert reply.status == 200
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=300)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "1 request for text: 1 distinct prompt, 0 % streamed." in printed
    folder = tmp_path / "rec"
    last = [f"recording: {folder}", f"page: {folder / 'tap.html'}", f"next: probe tap {folder} --to workload.yaml"]
    assert printed.splitlines()[-3:] == last
    assert "1 request for text" in (tmp_path / "rec" / "tap.html").read_text()
    assert json.loads((tmp_path / "rec" / "tap.json").read_text())["requests"] == 1
    assert cli.main(["tap", str(tmp_path / "rec")]) == ExitCode.OK
    assert "1 request for text: 1 distinct prompt" in capsys.readouterr().out
