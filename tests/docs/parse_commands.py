"""``python -m tests.docs.parse_commands < COMMANDS``: read command lines as `probe` and Locust do, and run none.

Standard input is a JSON list of argument lists; the answer is a list of what is wrong with each, empty if nothing is.
In a process of its own, because Locust patches it.
"""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from locust.argument_parser import get_parser

import probe_ext.swarm.listeners  # noqa: F401 - adds our options to Locust's parser
from probe_ext import cli
from probe_ext.report import compare_command
from probe_ext.swarm.commands import run_command


def problem(line: Sequence[str]) -> str:
    """Return what is wrong with a command line, or nothing."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = _read_probe(line[1:]) if line[0] == "probe" else _read_locust(line[1:])
        except SystemExit as end:
            code = end.code
    return errors.getvalue().strip() if code else ""


def _read_locust(arguments: Sequence[str]) -> int:
    get_parser(default_config_files=[]).parse_args(list(arguments))
    return 0


def _read_probe(arguments: Sequence[str]) -> int:
    return cli.main(arguments)


def _only_read(handler: Callable[[Any], int], options: Any) -> int:
    """Stand in for the call of a command: of a run, go on to Locust's part of the command line."""
    if handler is run_command.main:
        return run_command.main(options)
    return _read_locust(options.rest) if handler is compare_command.main else 0


def main() -> None:
    """Answer for all command lines."""
    cli._call = _only_read  # type: ignore[assignment]
    run_command.run_locust = lambda arguments, *_: _read_locust(arguments)
    run_command.local_ports = lambda _: []
    json.dump([problem(line) for line in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
