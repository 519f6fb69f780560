"""The command `probe`: parses arguments and dispatches. A command's module is imported only when it is used."""

import argparse
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from probe_ext import __version__
from probe_ext.closest_name import did_you_mean
from probe_ext.exit_codes import ExitCode
from probe_ext.import_interrupts import INTERRUPTED, ImportInterrupts

_EXAMPLES = """examples:
  probe run                                                find a server on this machine, and search its capacity
  probe ui                                                 the same by hand, in a browser
  probe sim --port 8000                                    a simulated server to try it on
  probe run capacity --host http://127.0.0.1:8000 --levels 1,2,4,8
  probe report reports/runs/20260131T120000Z-capacity      judge a run again

documentation: `probe init DIR` copies it to DIR/docs, with the scenarios to change
help by symptom: DIR/docs/troubleshooting.md
"""

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("probe_ext.swarm.commands.run_command", "drive Locust headless against a server, then report"),
    "ui": ("probe_ext.swarm.commands.ui_command", "open Locust's web UI, with the live view and the report"),
    "worker": ("probe_ext.swarm.commands.worker_command", "run users for a master on another machine"),
    "report": ("probe_ext.report.report_command", "build the report of a run from its files"),
    "compare": ("probe_ext.report.compare_command", "compare set-ups: what is better, worse or undecided"),
    "plan": (
        "probe_ext.report.plan_command",
        "which set-up serves a given number of people, with how many replicas, at what cost",
    ),
    "merge": ("probe_ext.run.merge_command", "merge rows that a lost worker kept on its disk into a run"),
    "doctor": (
        "probe_ext.inspection.doctor.doctor_command",
        "check whether a server and this machine are fit for a load test",
    ),
    "warmup": ("probe_ext.inspection.warmup.warmup_command", "warm a server up, and say when it is warm"),
    "scout": ("probe_ext.inspection.scout.scout_command", "compare several servers by a short probe, or watch them"),
    "init": (
        "probe_ext.starter_files",
        "copy scenarios, profiles, workloads, documentation and a compose file into a folder",
    ),
    "tap": ("probe_ext.tap.tap_command", "record what clients really send, as a proxy in front of a server"),
    "list": ("probe_ext.listing", "list scenarios, workloads and SLO profiles"),
    "calibrate": (
        "probe_ext.swarm.commands.calibrate_command",
        "measure the accuracy, cost and limits of the load generator on this machine",
    ),
    "sim": ("probe_ext.sim.sim_command", "run a simulated vLLM-like server"),
}

_INVALID_CHOICE = re.compile(r"argument COMMAND: invalid choice: '([^']*)'")
TRACEBACK_VARIABLE = "PROBE_TRACEBACK"
NOT_ON_WINDOWS = "Windows is not supported: install and run probe inside WSL (Windows Subsystem for Linux)"


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit."""
        wrong = _INVALID_CHOICE.match(message)
        if wrong:
            message = (
                f"{wrong[1]}: unknown command{did_you_mean(wrong[1], COMMANDS)}; choose from {', '.join(COMMANDS)}"
            )
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (0, 1, 2, 3 or 130, see README)."""
    if sys.platform == "win32":
        print(f"probe: {NOT_ON_WINDOWS}", file=sys.stderr)  # noqa: T201 - command output
        return ExitCode.USAGE
    try:
        with ImportInterrupts():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # a run starts its report with Ctrl-C held back
            handler, options = _read_command(list(sys.argv[1:] if arguments is None else arguments))
        return _call(handler, options) if handler else ExitCode.USAGE
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)  # noqa: T201 - command output
        return ExitCode.INTERRUPTED
    finally:
        _flush()


def _flush() -> None:
    """Flush standard output here: an error in Python's own flush at exit would print a traceback."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _end_by_sigpipe()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes once more at exit
        print(f"probe: standard output: {error.strerror}", file=sys.stderr)  # noqa: T201 - command output
        raise SystemExit(ExitCode.INVALID) from None


def _read_command(given: Sequence[str]) -> tuple[Callable[[argparse.Namespace], int] | None, argparse.Namespace]:
    parser = _Parser(
        prog="probe",
        description="Measure how many concurrent users a self-hosted LLM server keeps served.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"probe-ext {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    command = given[0] if given and given[0] in COMMANDS else None
    handler: Callable[[argparse.Namespace], int] | None = None
    for name, (module, summary) in COMMANDS.items():
        if name != command:
            commands.add_parser(name, help=summary)
            continue
        implementation = import_module(module)
        sub = commands.add_parser(
            name,
            help=summary,
            description=implementation.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        implementation.add_arguments(sub)
        handler = implementation.main
    if not given:
        parser.error(f"no command given; choose from {', '.join(COMMANDS)}")
    options, rest = parser.parse_known_args(given)
    if command in {"run", "ui", "compare"}:
        options.rest = rest  # Locust's own options, which Locust rejects if unknown; those of the runs to compare
    elif rest:
        _refuse(commands.choices[str(command)], rest)
    return handler, options


def _refuse(parser: argparse.ArgumentParser, rest: Sequence[str]) -> NoReturn:
    known = [name for action in parser._actions for name in action.option_strings]  # noqa: SLF001 - no public access
    from probe_ext.settings.secrets import api_key_hint  # noqa: PLC0415 - only for an error

    by_variable = "--api-key-env" if "--api-key-env" in known else None
    hints = (api_key_hint(option, by_variable) for option in rest if option.startswith("-"))
    if hint := next(filter(None, hints), None):
        parser.error(hint)
    closest = did_you_mean(rest[0].partition("=")[0], known) if rest[0].startswith("-") else ""
    parser.error(f"unknown argument {' '.join(rest)!r}{closest}")


def _call(handler: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Report an unexpected exception in one line; its exit code must not look like a missed gate."""
    try:
        return handler(options)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _is_pipe_closed():
            return _end_by_sigpipe()
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        message = f"{type(error).__name__}: {error}".partition("\n")[0]
        hint = f"(set {TRACEBACK_VARIABLE}=1 for a traceback)"
        print(f"probe: internal error (please report): {message} {hint}", file=sys.stderr)  # noqa: T201 - command output
        return ExitCode.INVALID


def _is_pipe_closed() -> bool:
    """Return whether standard output or error is a pipe without a reader, as after `| head`."""
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _end_by_sigpipe() -> int:
    """End silently by SIGPIPE, which Python ignores by default, as other tools do when their reader is gone."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    return ExitCode.INVALID  # if the signal is blocked
