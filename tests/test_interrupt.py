"""Ctrl-C before a command handles signals: one line and its exit code, no traceback."""

from typing import NoReturn

import pytest

from probe_ext import cli
from probe_ext.exit_codes import ExitCode


def test_interrupted_command_prints_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupted)
    assert cli.main(["report", "somewhere"]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "probe: interrupted\n"
