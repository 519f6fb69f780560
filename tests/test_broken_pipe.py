"""A command whose reader goes away (`| head`) ends silently; a gate keeps its exit code."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROBE = str(Path(sys.executable).parent / "probe")
RUN = ROOT / "reports" / "examples" / "vllm"

BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
"""unbuffered, argparse would write its help at once and ignore the failure"""


def run_without_reader(*arguments: str) -> tuple[int, str]:
    """Run `probe` with standard output in a closed pipe; return its exit code and standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [PROBE, *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
            env=BUFFERED,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr


@pytest.mark.parametrize("line", ["list", "--help", "--version", "run --help", "sim --port 0"])
def test_ends_by_sigpipe_without_a_reader(line: str) -> None:
    assert run_without_reader(*line.split()) == (-signal.SIGPIPE, "")


def test_report_and_gate_work_without_a_reader(tmp_path: Path) -> None:
    run = shutil.copytree(RUN, tmp_path / "run")
    (run / "capacity.html").unlink(missing_ok=True)
    assert run_without_reader("report", str(run), "--fail-under-users", "100000") == (1, "")
    assert (run / "capacity.html").exists()


def test_an_error_message_without_a_reader_is_not_an_internal_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        output = {"stdout": writing, "stderr": writing}
        done = subprocess.run([PROBE, "report", "/nowhere"], **output, timeout=300, check=False, env=BUFFERED)
    finally:
        os.close(writing)
    assert done.returncode == -signal.SIGPIPE


def test_reports_a_full_disk_behind_standard_output() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PROBE, "list"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, check=False, env=BUFFERED
        )
    assert (done.returncode, done.stderr) == (3, "probe: standard output: No space left on device\n")


FAILING_COMMAND = """
import sys, types
from probe_ext import cli

def fail(options):
    raise {error}

sys.modules["failing"] = types.SimpleNamespace(add_arguments=lambda parser: None, main=fail)
cli.COMMANDS = {{"fail": ("failing", "fails")}}
sys.exit(cli.main(["fail"]))
"""


@pytest.mark.parametrize("error", ["BrokenPipeError(32, 'of a socket')", "OSError(5, 'of a file')"])
def test_an_exception_in_a_command_is_an_internal_error(error: str) -> None:
    def run(**variables: str) -> tuple[int, str]:
        command = [sys.executable, "-c", FAILING_COMMAND.format(error=error)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=False, env={**BUFFERED, **variables}
        )
        return done.returncode, done.stderr

    code, stderr = run()
    assert code == 3
    assert stderr.startswith("probe: internal error (please report): ")
    code, stderr = run(PROBE_TRACEBACK="1")
    assert code == 1
    assert stderr.startswith("Traceback")
    assert stderr.rstrip().endswith(error.partition("'")[2].rstrip("')"))
