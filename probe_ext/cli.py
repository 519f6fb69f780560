"""The command `probe`: parse, and delegate. Each command loads its own package only when it is called."""

import argparse
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from probe_ext import __version__
from probe_ext.exit_codes import ExitCode

_EXAMPLES = """examples:
  probe sim --port 8000                                    a simulated server to try things on
  probe run capacity --host http://127.0.0.1:8000 --levels 1,2,4,8
  probe report reports/runs/20260131T120000Z-capacity      judge a run again
"""

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("probe_ext.swarm.commands.run_command", "drive Locust headless against a server, then report"),
    "worker": ("probe_ext.swarm.commands.worker_command", "join a master on another machine and run users for it"),
    "report": ("probe_ext.report.report_command", "build the report of a run from its files alone"),
    "merge": ("probe_ext.run.merge_command", "put rows that a dead worker left on its disk into a run"),
    "list": ("probe_ext.listing", "scenarios and SLO profiles"),
    "calibrate": (
        "probe_ext.swarm.commands.calibrate_command",
        "the ruler's own error, cost and limits on this machine",
    ),
    "sim": ("probe_ext.sim.sim_command", "a simulated vLLM-like server"),
}


TRACEBACK_VARIABLE = "PROBE_TRACEBACK"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        """Leave with the code of wrong usage."""
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code (see README: 0, 1, 2, 3 or 130)."""
    try:
        return _command(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        print("probe: interrupted", file=sys.stderr)  # noqa: T201 - a command speaks to its user
        return ExitCode.INTERRUPTED
    finally:
        _flush()


def _flush() -> None:
    """Write what is still in the buffer: what Python does after us would say a traceback."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _unheard()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python tries once more when it ends
        print(f"probe: standard output: {error.strerror}", file=sys.stderr)  # noqa: T201 - a command speaks to its user
        raise SystemExit(ExitCode.INVALID) from None


def _command(given: Sequence[str]) -> int:
    parser = _Parser(
        prog="probe",
        description="How many people at once does a self-hosted LLM server keep feeling served?",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"probe-ext {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    named = given[0] if given and given[0] in COMMANDS else None
    handler: Callable[[argparse.Namespace], int] | None = None
    for name, (module, summary) in COMMANDS.items():
        if name != named:
            commands.add_parser(name, help=summary)
            continue
        loaded = import_module(module)
        sub = commands.add_parser(
            name,
            help=summary,
            description=loaded.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        loaded.add_arguments(sub)
        handler = loaded.main
    if not given:
        parser.error(f"no command given; there are {', '.join(COMMANDS)}")
    options, rest = parser.parse_known_args(given)
    if named == "run":
        options.rest = rest  # Locust's own options; Locust says what it does not know
    elif rest:
        commands.choices[str(named)].error(f"unknown argument {' '.join(rest)!r}")
    return _guarded(handler, options) if handler else ExitCode.USAGE


def _guarded(handler: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """A defect of ours must not look like a missed gate: one line and an exit code of its own meaning."""
    try:
        return handler(options)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return _unheard()
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        where = f"{type(error).__name__}: {error}".partition("\n")[0]
        print(f"probe: a defect of probe itself: {where} ({TRACEBACK_VARIABLE}=1 shows where)", file=sys.stderr)  # noqa: T201 - a command speaks to its user
        return ExitCode.INVALID


def _reader_is_gone() -> bool:
    """Whether what we print goes into a pipe that nobody reads any more, as with `| head`."""
    asked = select.poll()
    for printed in (1, 2):
        asked.register(printed, 0)
    return any(state & select.POLLERR for _, state in asked.poll(0))


def _unheard() -> int:
    """End as other tools do when their reader has gone: quietly, by SIGPIPE, which Python had switched off."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    return ExitCode.INVALID  # where that signal is blocked
