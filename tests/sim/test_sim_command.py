"""The command line of `probe sim`: ready line, clean shutdown, and one-line errors."""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from probe_ext.sim import sim_command

ROOT = Path(sim_command.__file__).parents[2]
START = """
import argparse, sys
from probe_ext.sim import sim_command
parser = argparse.ArgumentParser()
sim_command.add_arguments(parser)
sys.exit(sim_command.main(parser.parse_args()))
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_url_and_stops_cleanly_on_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    process = start("--port", "0", "--profile", "demo", "--speed", "5", "--truth", str(truth))
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        address = line.split()[-1]
        body = json.dumps({"prompt": "hi", "max_tokens": 2000, "ignore_eos": True, "stream": True}).encode()
        open_stream = urllib.request.urlopen(f"{address}/v1/completions", body, timeout=300)
        assert open_stream.readline().startswith(b"data: ")
        process.send_signal(number)
        assert b"EngineCore encountered an issue" in open_stream.read()
        rest, stderr = process.communicate(timeout=300)
    finally:
        process.kill()
    warning = "simulator behind schedule: "  # expected on a busy machine
    errors = [line for line in stderr.splitlines() if not line.startswith(warning)]
    assert (process.returncode, rest, errors) == (0, "", [])
    kinds = [json.loads(each)["kind"] for each in truth.read_text().splitlines()]
    assert sorted(kinds) == ["reply", "server", "stop"]


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    sim_command.add_arguments(parser)
    return sim_command.main(parser.parse_args(arguments))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--profile", "rtx9090"), "'rtx9090'"),
        (("--personality", "grumpy"), "'grumpy'"),
        (("--fault", "flood"), "'flood'"),
        (("--speed", "0"), "--speed: 0.0"),
        (("--port", "70000"), "--port: 70000"),
        (("--api-key-env", "NO_SUCH_VARIABLE_HERE"), "NO_SUCH_VARIABLE_HERE"),
        (("--truth", "/no/such/folder/x"), "/no/such/folder/x"),
        (("--host", "192.0.2.1", "--port", "0"), "192.0.2.1"),
    ],
)
def test_an_invalid_option_gives_one_line_and_exit_code_2(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert words in shown.err


def test_a_port_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run("--port", str(port)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"probe: --port {port}: already in use")
    assert error.count("\n") == 1
    assert "rrno" not in error


def test_profile_names() -> None:
    assert "demo" in sim_command.profile_names()
