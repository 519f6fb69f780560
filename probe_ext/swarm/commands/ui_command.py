"""Open Locust's web UI for a scenario: users by hand, levels or a search, with the live view and the report.

NAME|FILE is a scenario (see `probe list`) or a locustfile, and comes first; default: `capacity`. Without --host it
looks for a server on this machine, as `probe run` does; the form can name another. All options of `probe run` set
what the form starts with, and all of Locust's options work too. The API key is read from PROBE_API_KEY.

The page is served at http://127.0.0.1:8089 and reached from this machine alone. --web-port takes another port,
--web-host another address; protect that one with --web-login.

examples:
  probe ui
  probe ui chat --host http://gpu:8000
  probe ui my_users.py --web-port 8090 --processes 4
"""

import argparse
import sys

from probe_ext.exit_codes import ExitCode
from probe_ext.settings.errors import SettingsError
from probe_ext.swarm.commands.run_command import add_options, common_arguments, read_command_line, run_locust
from probe_ext.swarm.locust_options import open_web_ui


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the host and every option of the package."""
    parser.usage = "probe ui [NAME|FILE] [--host URL] [option …]"
    add_options(parser)


def main(options: argparse.Namespace) -> int:
    """Serve the web UI until Ctrl-C, and return the exit code."""
    try:
        asked = read_command_line(options)
    except SettingsError as error:
        print(f"probe: {error}", file=sys.stderr)  # noqa: T201 - command output
        return ExitCode.USAGE
    arguments = ["-f", str(asked.locustfile), *common_arguments(asked.given, asked.rest)]
    return run_locust(arguments, asked.locustfile, open_web_ui, "ui")
