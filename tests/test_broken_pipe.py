"""A command whose reader goes away (`| head`) ends quietly, as other tools do; a verdict keeps its exit code."""

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
"""without buffers argparse's own help is written at once, and fails unseen: 0"""


def unread(*arguments: str) -> tuple[int, str]:
    """Run `probe` with its output in a pipe that nobody reads; its exit code and what stood on standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [PROBE, *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            env=BUFFERED,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "line", ["list", "--help", "--version", "run --help", "report --help", "sim --help", "sim --port 0"]
)
def test_a_command_that_nobody_reads_ends_by_the_signal_for_it(line: str) -> None:
    assert unread(*line.split()) == (-signal.SIGPIPE, "")


@pytest.mark.parametrize(("wanted", "code"), [(1, 0), (100_000, 1)])
def test_a_report_that_nobody_reads_is_written_and_its_gate_judged(wanted: int, code: int, tmp_path: Path) -> None:
    run = shutil.copytree(RUN, tmp_path / "run")
    (run / "capacity.html").unlink(missing_ok=True)
    assert unread("report", str(run), "--fail-under-users", str(wanted)) == (code, "")
    assert (run / "capacity.html").exists()


def test_an_error_that_nobody_reads_is_no_defect() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        told = {"stdout": writing, "stderr": writing}
        done = subprocess.run([PROBE, "report", "/nowhere"], **told, timeout=60, check=False, env=BUFFERED)
    finally:
        os.close(writing)
    assert done.returncode == -signal.SIGPIPE


def test_a_full_disk_behind_the_output_is_said() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PROBE, "list"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False, env=BUFFERED
        )
    assert (done.returncode, done.stderr) == (3, "probe: standard output: No space left on device\n")


DEFECT = """
import sys, types
from probe_ext import cli

def fail(options):
    raise {error}

sys.modules["failing"] = types.SimpleNamespace(add_arguments=lambda parser: None, main=fail)
cli.COMMANDS = {{"fail": ("failing", "fails")}}
sys.exit(cli.main(["fail"]))
"""


@pytest.mark.parametrize("error", ["BrokenPipeError(32, 'of a socket')", "OSError(5, 'of a file')"])
def test_a_defect_of_a_command_is_not_laid_to_its_output(error: str) -> None:
    def told(**more: str) -> tuple[int, str]:
        told = [sys.executable, "-c", DEFECT.format(error=error)]
        done = subprocess.run(told, capture_output=True, text=True, timeout=60, check=False, env={**BUFFERED, **more})
        return done.returncode, done.stderr

    code, said = told()
    assert code == 3
    assert said.startswith("probe: a defect of probe itself: ")
    code, said = told(PROBE_TRACEBACK="1")
    assert code == 1
    assert said.startswith("Traceback")
    assert said.rstrip().endswith(error.partition("'")[2].rstrip("')"))
