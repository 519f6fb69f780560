"""Runs and reports that the tests of this folder share."""

import shutil
from pathlib import Path

import pytest
import synthetic_run

from probe_ext.report import report_command


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the stated model, with its report; not to be changed."""
    run = synthetic_run.build(tmp_path_factory.mktemp("whole") / "run")
    report_command.build(run)
    return run


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(whole_run, tmp_path / "run"))
