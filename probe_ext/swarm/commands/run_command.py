"""Run Locust headless against a server, then report.

NAME|FILE is a scenario (see `probe list`) or a locustfile, and comes first. Without it and without --workload, the
scenario is `capacity`, and the run searches for the capacity: about a minute to a first range, which it then narrows.
On a terminal it goes on for up to an hour; Ctrl-C ends it at any time, with the report. Elsewhere, or with --precision
or a gate, it ends once the answer is precise.

Without --host it looks for a server on this machine, on the usual ports of vLLM, llama.cpp, Ollama, LM Studio and
SGLang, and says which one it tests.

All of Locust's options work too: --processes 4, -u 10 -r 2 -t 5m, --expect-workers …
With a scenario but without --levels, --search, -u or -t the levels are 1,2,4,8. A level takes at least --settle plus
--hold: with the defaults these four take 2 min 20 s or more. The API key is read from PROBE_API_KEY.

examples:
  probe run
  probe run capacity --host http://127.0.0.1:8000 --search
  probe run capacity --host http://127.0.0.1:8000 --levels 1,2,4,8 --hold 30s --fail-under-users 4
  probe run --workload coding --host http://127.0.0.1:8000 --levels 2,4,8
"""

import argparse
import os
import secrets
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe_ext.access.scenario import find_locustfile
from probe_ext.bundled import folder
from probe_ext.closest_name import did_you_mean
from probe_ext.exit_codes import ExitCode
from probe_ext.import_interrupts import ImportInterrupts
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import OPTIONS, read_options, refuse_empty_load, refuse_search_limits
from probe_ext.settings.secrets import SWARM_TOKEN_VARIABLE, api_key_hint
from probe_ext.swarm.locust_options import (
    find_host_by_default,
    how_given,
    search_by_default,
    set_default_levels,
)
from probe_ext.workload.workload_file import read_workload

DEFAULT_LEVELS = "1,2,4,8"
DEFAULT_SCENARIO = "capacity"
_WORKLOAD = next(option for option in OPTIONS if option.name == "workload")
_LOAD_OPTIONS = ("levels", "rate", "search")
_GOAL_OPTIONS = ("precision", "fail_under_users", "fail_under_rate", "fail_over", "baseline")
"""options that say when a run knows enough, or that something waits for its exit code"""
_LOCUST_LOAD = {"-u": "LOCUST_USERS", "-t": "LOCUST_RUN_TIME", "--users": "", "--run-time": ""}
"""Locust's options that say how much load there is, and their variables"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the host and every option of the package.

    The scenario is no argument of this parser, which would take the value of one of Locust's own options for it.
    """
    parser.usage = "probe run [NAME|FILE] [--host URL] [option …]"
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the host and every option of the package."""
    parser.add_argument("--host", help="base URL of the server, with a gateway's path prefix if it has one")
    for option in OPTIONS:
        text = f"{option.help} [{option.default}]" if option.default else option.help
        parser.add_argument(option.flag, default=None, help=text.replace("%", "%%"), **how_given(option))


def main(options: argparse.Namespace) -> int:
    """Run Locust in this process, and return its exit code or the report's."""
    try:
        asked = read_command_line(options)
        refuse_search_limits(asked.given)
    except SettingsError as error:
        print(f"probe: {error}", file=sys.stderr)  # noqa: T201 - command output
        return ExitCode.USAGE
    searches = asked.scenario is None and not _says_how_much(asked.given, asked.rest)
    open_ended = searches and _is_watched() and not _are_given(_GOAL_OPTIONS, asked.given)

    def set_defaults(parser: Any) -> None:
        set_default_levels(parser, DEFAULT_LEVELS)
        find_host_by_default(parser)
        if searches:
            search_by_default(parser, open_ended=open_ended)

    return run_locust(locust_arguments(asked.locustfile, asked.given, asked.rest), asked.locustfile, set_defaults)


@dataclass(frozen=True)
class CommandLine:
    """What `probe run` and `probe ui` are asked to do."""

    scenario: str | None
    """None: none was named"""
    locustfile: Path
    given: dict[str, Any]
    """our options, as given"""
    rest: list[str]
    """Locust's options"""


def read_command_line(options: argparse.Namespace) -> CommandLine:
    """Read the scenario and the options. SettingsError, in one line, if one of them is invalid."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    rest: list[str] = given.pop("rest")
    scenario = take_scenario(rest, given.get("workload") or os.environ.get(_WORKLOAD.variable))
    locustfile = find_locustfile(scenario or DEFAULT_SCENARIO)
    refuse_empty_load(given)
    read_options(given)  # Locust reads them again, with the scenario's defaults
    local = local_ports(rest)
    if local:  # our own workers inherit it, and other users of this machine cannot join
        os.environ.setdefault(SWARM_TOKEN_VARIABLE, secrets.token_hex())
    return CommandLine(scenario, locustfile, given, [*rest, *local])


def _says_how_much(given: dict[str, Any], rest: list[str]) -> bool:
    """Whether the command line or the environment says how many users there are, or for how long."""
    named = any(argument.startswith(tuple(_LOCUST_LOAD)) for argument in rest)
    return named or _are_given(_LOAD_OPTIONS, given) or any(map(os.environ.get, _LOCUST_LOAD.values()))


def _are_given(names: tuple[str, ...], given: dict[str, Any]) -> bool:
    """Whether the command line or the environment has one of these options."""
    variables = [option.variable for option in OPTIONS if option.name in names]
    return any(map(given.get, names)) or any(map(os.environ.get, variables))


def _is_watched() -> bool:
    """Whether someone reads what the run says, and can press Ctrl-C. Some CI systems have terminals without anyone."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")


def take_scenario(rest: list[str], workload: str | None) -> str | None:
    """Take the scenario out of the arguments that are none of ours; None if none is given, and no workload.

    It is the first, or else one that can only be that. A workload takes the place of the default scenario, which asks
    the same. SettingsError for a URL in the scenario's place, or an invalid workload.
    """
    if rest and "://" in rest[0]:
        raise SettingsError(f"{rest[0]}: give the server as --host {rest[0]}")
    if workload:
        read_workload(workload)
    if rest and not rest[0].startswith("-"):
        named = rest.pop(0)
        return "workload" if workload and named == DEFAULT_SCENARIO else named
    if workload:
        return "workload"
    known = {path.stem for path in folder("locustfiles").glob("*.py")}
    found = next((argument for argument in rest if argument in known or argument.endswith(".py")), None)
    if found:
        rest.remove(found)
    return found


def run_locust(
    arguments: list[str],
    locustfile: Path,
    set_defaults: Callable[[Any], None] = lambda _parser: None,
    command: str = "run",
) -> int:
    """Run Locust in this process with these arguments, and return its exit code. `command`: what errors are said by."""
    sys.argv = ["locust", *arguments]
    with ImportInterrupts():
        from locust import events  # noqa: PLC0415 - patches the process: not before it is needed
        from locust.main import main as locust_main  # noqa: PLC0415 - as above

        import probe_ext.swarm.listeners  # noqa: F401, PLC0415 - before any locustfile, so that its options are known

    def set_up(parser: Any, **_: Any) -> None:
        set_defaults(parser)
        _check_locustfile(parser, locustfile)
        _check_user_classes(parser, locustfile)
        parser.error = _error_handler(parser, command)

    events.init_command_line_parser.add_listener(set_up)
    try:
        locust_main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except Exception as error:
        where = _location(error, locustfile)
        if where is None:
            raise
        print(f"probe: {where}: {type(error).__name__}: {_first_line(error)}", file=sys.stderr)  # noqa: T201 - command output
        return ExitCode.USAGE
    return ExitCode.OK


def local_ports(rest: list[str]) -> list[str]:
    """Return Locust's options for a free port on loopback if master and workers run here: two runs never meet."""
    names = {argument.partition("=")[0] for argument in rest}
    if "--processes" not in names or names & {"--worker", "--master-bind-port", "--master-bind-host", "--master-port"}:
        return []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return ["--master-bind-host", "127.0.0.1", "--master-bind-port", str(port), "--master-port", str(port)]


def _check_locustfile(parser: Any, locustfile: Path) -> None:
    """Exit if the loaded locustfile has no user class of ours."""
    from probe_ext.swarm.users.user import StreamingUser  # noqa: PLC0415 - loads Locust

    if not any(not kind.abstract for kind in _subclasses(StreamingUser)):
        parser.exit(
            ExitCode.USAGE, f"probe: {locustfile}: defines no probe_ext.StreamingUser, so nothing is measured\n"
        )


def _check_user_classes(parser: Any, locustfile: Path) -> None:
    """Have the parser refuse the name of a class that is not defined, such as a second scenario."""
    from locust import User  # noqa: PLC0415 - patches the process

    names = sorted({kind.__name__ for kind in _subclasses(User) if not kind.abstract})

    options = {name for action in parser._actions for name in action.option_strings}  # noqa: SLF001 - no public access

    def known(name: str) -> str:
        before = sys.argv[sys.argv.index(name) - 1].partition("=")[0] if name in sys.argv else ""
        if before.startswith("-") and before not in options:
            return name  # the value of an unknown option, which the parser names: it may be a secret
        if name not in names:
            defined = f"{locustfile.name} defines {', '.join(names)}"
            raise argparse.ArgumentTypeError(f"{name}: not a user class ({defined}); a run takes one scenario")
        return name

    for action in parser._actions:  # noqa: SLF001 - no public access
        if action.dest == "user_classes":
            action.type, action.metavar = known, "USER-CLASS"


def _subclasses(base: Any) -> list[Any]:
    return [kind for direct in base.__subclasses__() for kind in (direct, *_subclasses(direct))]


def _error_handler(parser: Any, command: str) -> Any:
    """Return a handler that reports wrong options in one line, without Locust's usage."""
    known = [name for action in parser._actions for name in action.option_strings]  # noqa: SLF001 - no public access

    def error(message: str) -> None:
        before, separator, arguments = message.partition("unrecognized arguments: ")
        if separator and not before:
            message = _unknown(arguments.split()[0], known)
        parser.exit(ExitCode.USAGE, f"probe {command}: {message}; see probe {command} --help and locust --help\n")

    return error


def _unknown(option: str, known: list[str]) -> str:
    """Name an unknown option with its value, and the closest known one."""
    if hint := api_key_hint(option):
        return hint
    after = sys.argv[sys.argv.index(option) + 1 :] if option in sys.argv else []
    shown = f"{option} {after[0]}" if after and not after[0].startswith("-") else option
    return f"unknown option {shown}{did_you_mean(option.partition('=')[0], known)}"


def _location(error: Exception, locustfile: Path) -> str | None:
    """Return `FILE:LINE` of an error in the locustfile; None if it came from elsewhere."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).name == locustfile.name:
        return f"{locustfile}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if _same(frame.filename, locustfile)]
    return f"{locustfile}:{lines[-1]}" if lines else None


def _same(filename: str, path: Path) -> bool:
    return Path(filename).exists() and path.exists() and Path(filename).samefile(path)


def _first_line(error: Exception) -> str:
    return str(error.msg) if isinstance(error, SyntaxError) else str(error).partition("\n")[0]


def locust_arguments(locustfile: Path, given: dict[str, object], rest: list[str]) -> list[str]:
    """Return Locust's command line: headless, no running tables, and failed requests set no exit code."""
    headless = ["--headless", "--only-summary", "--exit-code-on-error", "0"]
    return ["-f", str(locustfile), *headless, *common_arguments(given, rest)]


def common_arguments(given: dict[str, object], rest: list[str]) -> list[str]:
    """Return the options of a headless run and of a web UI alike."""
    line = []
    if not any(argument.startswith(("--loglevel", "-L")) for argument in rest):
        line += ["--loglevel", "WARNING"]
    if "host" in given:
        line += ["--host", str(given["host"])]
    for option in OPTIONS:
        if given.get(option.name) is True:
            line.append(option.flag)
        elif option.name in given:
            line.append(f"{option.flag}={given[option.name]}")
    return line + rest
