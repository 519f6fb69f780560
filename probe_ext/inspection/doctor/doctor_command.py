"""Check in at most two minutes whether a server, and this machine, are fit for a load test.

Sends a few dozen requests, most of them short. Exit code 0: nothing to fix; 1: something to fix; 3: the server cannot
be reached or does not answer requests. The API key is read from PROBE_API_KEY. See docs/doctor.md (`probe init DIR`
copies it).

examples:
  probe doctor http://127.0.0.1:8000
  probe doctor https://llm.example.org --levels 16,32,64 --max-tokens 500 --html doctor.html
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from probe_ext.exit_codes import ExitCode
from probe_ext.inspection.doctor import examination_output
from probe_ext.inspection.doctor.examine import examine, exit_code_of
from probe_ext.inspection.interrupts import silence_interrupts
from probe_ext.inspection.planned_run import planned_run
from probe_ext.inspection.shared_options import add_options, options_of, usage_error
from probe_ext.settings.errors import SettingsError

_OPTIONS = (
    *("model", "api", "workload", "input_tokens", "max_tokens", "shared_prefix_tokens", "usage"),
    *("levels", "search", "max_users", "search_time", "hold", "settle"),
    *("timeout_connect", "insecure", "tls_ca", "tls_client_cert", "tls_client_key", "header", "header_env", "body"),
    *("metrics_url", "metrics_every", "no_metrics", "out"),
)
"""the options of a run that change what is checked"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the URL, the outputs and the options of the planned run."""
    parser.add_argument("url", metavar="URL", help="base URL of the server, with a gateway's path prefix if it has one")
    parser.add_argument("--scenario", metavar="NAME|FILE", help="take the lengths of this scenario")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    parser.add_argument("--html", metavar="FILE", help="also write a page to send to a colleague")
    add_options(parser, _OPTIONS)


def main(given: argparse.Namespace) -> int:
    """Examine the server; print or write the result, and return the exit code."""
    silence_interrupts()
    try:
        options = options_of(given, _OPTIONS, given.scenario)
        page = _page_file(given.html)
        screen = Console(stderr=True)
        with screen.status("") as status:
            examination = examine(given.url, options, planned_run(options), lambda text: status.update(text or ""))
    except SettingsError as error:
        return usage_error(error)
    if given.json:
        print(examination_output.as_json(examination), end="")  # noqa: T201 - command output
    else:
        examination_output.show(examination, sys.stdout)
    if page is not None:
        try:
            page.write_text(examination_output.html(examination), encoding="utf-8")
        except OSError as error:
            print(f"probe: --html {page}: {error.strerror}", file=sys.stderr)  # noqa: T201 - command output
            return ExitCode.USAGE
    return exit_code_of(examination)


def _page_file(given: str | None) -> Path | None:
    """Return the file of --html. SettingsError if its folder does not exist, before two minutes are spent."""
    if not given:
        return None
    page = Path(given)
    if not page.parent.is_dir():
        raise SettingsError(f"--html {given}: no such folder")
    return page
