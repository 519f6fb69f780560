"""Runs and reports that the tests of this folder share."""

import shutil
from pathlib import Path

import pytest
import synthetic_run

from probe_ext.report import report_command


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the synthetic run with its report; read only."""
    run = synthetic_run.build(tmp_path_factory.mktemp("whole") / "run")
    report_command.build(run)
    return run


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    """Return a copy to modify."""
    return Path(shutil.copytree(whole_run, tmp_path / "run"))
