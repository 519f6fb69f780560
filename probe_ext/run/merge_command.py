"""Put rows that a worker could not send, and left on its own disk, into a run. Then probe report judges the whole.

A worker keeps its rows below the folder in which it was started, in reports/runs/<run>/: requests-<worker>.csv,
gaps-<worker>.csv, and worker-<worker>.json, which says which run they belong to. Copy all three. What the run has
already is not counted again.

example:
  probe merge reports/runs/20260131T120000Z-capacity from-box-2/requests-*.csv from-box-2/gaps-*.csv
"""

import argparse
import sys
from pathlib import Path

from probe_ext.exit_codes import ExitCode
from probe_ext.run.manifest import ManifestError
from probe_ext.run.merge import Merged, merge
from probe_ext.run.worker_file import MergeError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and the files."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's directory")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="requests-<worker>.csv, gaps-<worker>.csv")


def main(options: argparse.Namespace) -> int:
    """Merge, and say what was new; the exit code."""
    try:
        done = merge(options.run, options.files)
    except (MergeError, ManifestError) as error:
        return _refused(str(error))
    except OSError as error:
        return _refused(f"{error.filename or options.run}: {error.strerror or error}")
    for one in done:
        print(_said(one))  # noqa: T201 - a command speaks to its user
    if any(one.added for one in done):
        print(f"judge it again: probe report {options.run}")  # noqa: T201 - as above
    return ExitCode.OK


def _refused(why: str) -> int:
    print(f"probe merge: {why}", file=sys.stderr)  # noqa: T201 - as above
    return ExitCode.USAGE


def _said(one: Merged) -> str:
    torn = "; its last line is cut off, and left out" if one.torn else ""
    return f"{one.file}: {one.added} of {one.rows} rows were new{torn}"
