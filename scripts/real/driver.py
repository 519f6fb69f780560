"""The command line of the real-server scripts: setup, start, stop and run; standard library only."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

from server_process import Server
from setup_steps import FailedError, UnsupportedError

EXIT_SKIPPED = 77


@dataclasses.dataclass(frozen=True)
class Driver:
    """The command line of one server; ``start`` gets the options and the arguments for the server itself."""

    name: str
    description: str
    port: int
    add_options: Callable[[argparse.ArgumentParser], None]
    setup: Callable[[], str]
    start: Callable[[argparse.Namespace, Sequence[str]], str]

    def main(self) -> int:
        arguments, command = sys.argv[1:], []
        if "--" in arguments:
            separator = arguments.index("--")
            arguments, command = arguments[:separator], arguments[separator + 1 :]
        options, extra = self._parse(arguments)
        try:
            return self._execute(options, extra, command)
        except UnsupportedError as reason:
            print(f"{self.name}: not supported on this machine: {reason}", file=sys.stderr)
            return EXIT_SKIPPED
        except (FailedError, OSError) as reason:
            print(f"{self.name}: {reason}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130

    def _parse(self, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        parser = argparse.ArgumentParser(
            description=self.description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("setup", help="install the server and create its models, unless already done")
        for name, text in (
            ("start", "start a server and wait until it is healthy; other options are passed on to the server"),
            (
                "run",
                "set up, start, run the command after `--` and stop the server in any case; exits as the command does",
            ),
        ):
            action = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
            action.add_argument("--port", type=int, default=self.port)
            self.add_options(action)
        stop = actions.add_parser("stop", help="stop the server on that port")
        stop.add_argument("--port", type=int, default=self.port)
        options, extra = parser.parse_known_args(arguments)
        if extra and options.action in {"setup", "stop"}:
            parser.error(f"unrecognized arguments: {' '.join(extra)}")
        return options, extra

    def _execute(self, options: argparse.Namespace, extra: Sequence[str], command: Sequence[str]) -> int:
        if (options.action == "run") != bool(command):
            raise FailedError("`run` requires a command after `--`; the other actions take none")
        if options.action == "stop":
            print(Server(self.name, options.port).stop())
            return 0
        if options.action == "setup":
            print(f"{self.name}: {self.setup()}")
            return 0
        if options.action == "start":
            print(f"{self.name}: {self.start(options, extra)}")
            return 0
        self.setup()
        with terminated_by_signals():
            try:
                print(f"{self.name}: {self.start(options, extra)}", flush=True)
                return run_command(command)
            finally:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave the server running
                print(Server(self.name, options.port).stop(), flush=True)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM or SIGHUP was received: like Ctrl-C, but the child process did not get the signal."""


@contextlib.contextmanager
def terminated_by_signals() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C, so that no server is left running."""

    def terminate(_number: int, _frame: object) -> None:
        raise TerminatedError

    previous = {number: signal.signal(number, terminate) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_command(command: Sequence[str]) -> int:
    """Run a command in this process group, where Ctrl-C reaches it, too; if interrupted, let it write its report."""
    with subprocess.Popen(command) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt as reason:
            if isinstance(reason, TerminatedError):
                process.terminate()
            code = process.wait()
    return code if code >= 0 else 128 - code
