"""Ctrl-C before a command handles signals: one line and its exit code, no traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import gevent
import pytest

from probe_ext import cli
from probe_ext.exit_codes import ExitCode
from probe_ext.import_interrupts import ImportInterrupts
from probe_ext.inspection.interrupts import silence_interrupts
from probe_ext.swarm.terminal import report_process


def test_interrupted_command_prints_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupted)
    assert cli.main(["report", "somewhere"]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "probe: interrupted\n"


def test_an_interrupt_in_a_greenlet_is_not_reported_by_the_event_loop(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> NoReturn:
        raise KeyboardInterrupt

    silence_interrupts()
    gevent.spawn(interrupted)
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(10)
    assert capsys.readouterr().err == ""


_HALF_IMPORTED = """
import os, signal
from probe_ext import cli
def half_imported(name):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    except BaseException:
        raise RuntimeError("a lock was left")
cli.import_module = half_imported
cli.main(["report", "somewhere"])
"""


def test_ctrl_c_in_an_import_ends_at_once_whatever_the_import_would_make_of_it() -> None:
    process = subprocess.run(
        [sys.executable, "-c", f"import signal; signal.signal(2, signal.default_int_handler){_HALF_IMPORTED}"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=60,
        check=False,
    )
    assert (process.returncode, process.stderr) == (ExitCode.INTERRUPTED, "probe: interrupted\n")


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.default_int_handler])
def test_after_imports_ctrl_c_is_what_it_was(handler: Any) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        with ImportInterrupts():
            assert (signal.getsignal(signal.SIGINT) is handler) == (handler is signal.SIG_IGN)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("arguments", "closest"),
    [
        (["docter", "http://127.0.0.1:1"], "doctor"),
        (["doctor", "http://127.0.0.1:1", "--scenario", "basline"], "baseline"),
        (["warmup", "http://127.0.0.1:1", "--usrs", "3"], "--users"),
        (["report", "run", "--quie"], "--quiet"),
        (["compare", "--mean", "cache", "a", "b"], "--meant"),
        (["sim", "--personality", "seqential"], "sequential"),
        (["sim", "--profile", "demo-wal"], "demo-wall"),
    ],
)
def test_misspelt_names_are_suggested(arguments: list[str], closest: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = cli.main(arguments)
    except SystemExit as left:
        code = int(left.code or 0)
    assert (code, f"(did you mean {closest}?)" in capsys.readouterr().err) == (ExitCode.USAGE, True)


def test_ctrl_c_while_python_starts_a_report_prints_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The signal is sent before the child has run a line of Python."""
    popen = subprocess.Popen

    def interrupted(command: list[str], **how: Any) -> Any:
        with (tmp_path / "said").open("w") as said:
            process = popen(command, stdout=said, stderr=said, cwd=Path(__file__).parents[1], **how)
        os.kill(process.pid, signal.SIGINT)
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        assert report_process.make_report(tmp_path) == ExitCode.INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "said").read_text() == "probe: interrupted\n"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_on_windows_one_line_names_wsl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert cli.main(["list"]) == 2
    monkeypatch.undo()
    assert capsys.readouterr().err == f"probe: {cli.NOT_ON_WINDOWS}\n"
