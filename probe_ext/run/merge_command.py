"""Merge rows that a worker could not send to the master into a run; then judge it again with probe report.

A worker keeps its rows below its working directory, in reports/runs/<run>/: requests-<worker>.csv, gaps-<worker>.csv
and worker-<worker>.json, which names their run. Copy all three. Rows that the run already has are not counted twice.

example:
  probe merge reports/runs/20260131T120000Z-capacity from-box-2/requests-*.csv from-box-2/gaps-*.csv
"""

import argparse
import sys
from pathlib import Path

from probe_ext.exit_codes import ExitCode
from probe_ext.run.directory import MANIFEST
from probe_ext.run.manifest import ManifestError
from probe_ext.run.merge import Merged, merge
from probe_ext.run.worker_files import MergeError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run and the files."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="requests-<worker>.csv or gaps-<worker>.csv from a worker"
    )


def main(options: argparse.Namespace) -> int:
    """Merge the files and print how many rows were new; return the exit code."""
    try:
        results = merge(options.run, options.files)
    except (MergeError, ManifestError) as error:
        return _fail(str(error))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        return _fail(f"{options.run / MANIFEST}: damaged ({type(error).__name__}: {error}); nothing was merged")
    except OSError as error:
        return _fail(f"{error.filename or options.run}: {error.strerror or error}")
    for result in results:
        print(_line(result))  # noqa: T201 - command output
    if any(result.added for result in results):
        print(f"judge the run again: probe report {options.run}")  # noqa: T201 - command output
    return ExitCode.OK


def _fail(why: str) -> int:
    print(f"probe merge: {why}", file=sys.stderr)  # noqa: T201 - command output
    return ExitCode.USAGE


def _line(result: Merged) -> str:
    file = result.file
    truncated = "; skipped an incomplete last line" if file.truncated else ""
    rows = "1 row" if len(file.rows) == 1 else f"{len(file.rows)} rows"
    are = "is" if result.added == 1 else "are"
    return f"{file.path}: {result.added} of {rows} {are} new{truncated}"
