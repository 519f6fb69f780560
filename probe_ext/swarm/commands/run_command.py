"""Drive Locust headless against a server, then report.

Every option of Locust may be given too: --processes 4, -u 10 -r 2 -t 5m, --expect-workers …
Without --levels, --search, -u or -t the levels are 1,2,4,8. A level takes at least --settle and --hold together: with
their defaults these four take 2 min 20 s or more. The API key comes from PROBE_API_KEY.

example:
  probe run capacity --host http://127.0.0.1:8000 --search
  probe run capacity --host http://127.0.0.1:8000 --levels 1,2,4,8 --hold 30s --fail-under-users 4
"""

import argparse
import difflib
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from probe_ext.bundled import folder
from probe_ext.exit_codes import ExitCode
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import OPTIONS, read_options
from probe_ext.swarm.locust_options import set_default_levels

DEFAULT_LEVELS = "1,2,4,8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The scenario, the host and every option of the package."""
    parser.add_argument("scenario", metavar="NAME|FILE", help="a name that `probe list` shows, or a locustfile")
    parser.add_argument("--host", help="the server: its base URL, with a gateway's path prefix if it has one")
    for option in OPTIONS:
        if option.default is False:
            parser.add_argument(option.flag, action="store_true", default=None, help=option.help)
        else:
            shown = f"{option.help} [{option.default}]" if option.default else option.help
            parser.add_argument(option.flag, metavar=option.metavar, help=shown.replace("%", "%%"))


def main(options: argparse.Namespace) -> int:
    """Run Locust in this process; its exit code, or the report's."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    try:
        locustfile = find_locustfile(options.scenario)
        read_options(given)
    except SettingsError as error:
        print(f"probe: {error}", file=sys.stderr)  # noqa: T201 - a command speaks to its user
        return ExitCode.USAGE
    arguments = [*locust_arguments(locustfile, given, options.rest), *own_channel(options.rest)]
    return run_locust(arguments, locustfile, DEFAULT_LEVELS)


def run_locust(arguments: list[str], locustfile: Path, default_levels: str | None = None) -> int:
    """Run Locust in this process with these arguments, and return its exit code."""
    sys.argv = ["locust", *arguments]
    from locust import events  # noqa: PLC0415 - patches the process: not before it is needed
    from locust.main import main as locust_main  # noqa: PLC0415 - as above

    import probe_ext.swarm.listeners  # noqa: F401, PLC0415 - before any locustfile, so that its options are known

    def set_up(parser: Any, **_: Any) -> None:
        if default_levels:
            set_default_levels(parser, default_levels)
        _watch_over(parser, locustfile)

    events.init_command_line_parser.add_listener(set_up)
    try:
        locust_main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except Exception as error:
        where = _line_of(error, locustfile)
        if where is None:
            raise
        print(f"probe: {where}: {type(error).__name__}: {_first_line(error)}", file=sys.stderr)  # noqa: T201 - as above
        return ExitCode.USAGE
    return ExitCode.OK


def own_channel(rest: list[str]) -> list[str]:
    """For a master and workers of one machine: a free port on loopback, so that two runs never meet on one."""
    names = {argument.partition("=")[0] for argument in rest}
    if "--processes" not in names or names & {"--worker", "--master-bind-port", "--master-bind-host", "--master-port"}:
        return []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return ["--master-bind-host", "127.0.0.1", "--master-bind-port", str(port), "--master-port", str(port)]


def _watch_over(parser: Any, locustfile: Path) -> None:
    """Once locustfiles are loaded: refuse what cannot be measured, and have Locust refuse options in one line."""
    from probe_ext.swarm.users.user import StreamingUser  # noqa: PLC0415 - loads Locust

    if not any(not kind.abstract for kind in _kinds(StreamingUser)):
        parser.exit(ExitCode.USAGE, f"probe: {locustfile}: no probe_ext.StreamingUser in it, so nothing to measure\n")
    known = [name for action in parser._actions for name in action.option_strings]  # noqa: SLF001 - argparse tells not

    def error(message: str) -> None:
        head, found, tail = message.partition("unrecognized arguments: ")
        if found and not head:
            message = _unknown(tail.split()[0], known)
        parser.exit(ExitCode.USAGE, f"probe run: {message}; see probe run --help and locust --help\n")

    parser.error = error


def _kinds(base: Any) -> list[Any]:
    return [kind for direct in base.__subclasses__() for kind in (direct, *_kinds(direct))]


def _unknown(option: str, known: list[str]) -> str:
    """Names an option that nobody knows, with the value that came with it."""
    after = sys.argv[sys.argv.index(option) + 1 :] if option in sys.argv else []
    shown = f"{option} {after[0]}" if after and not after[0].startswith("-") else option
    close = difflib.get_close_matches(option.partition("=")[0], known, n=1)
    return f"unknown option {shown}" + (f" (did you mean {close[0]}?)" if close else "")


def _line_of(error: Exception, locustfile: Path) -> str | None:
    """`FILE:LINE` where a locustfile could not be loaded; None where the error is none of its own."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).name == locustfile.name:
        return f"{locustfile}:{error.lineno}"
    at = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if _same(frame.filename, locustfile)]
    return f"{locustfile}:{at[-1]}" if at else None


def _same(filename: str, path: Path) -> bool:
    return Path(filename).exists() and path.exists() and Path(filename).samefile(path)


def _first_line(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return str(error.msg)
    return str(error).partition("\n")[0]


def find_locustfile(scenario: str) -> Path:
    """The locustfile of a scenario's name, or the file itself. SettingsError when there is none."""
    path = Path(scenario)
    if path.suffix == ".py":
        if path.is_file():
            return path
        raise SettingsError(f"{scenario}: no such file")
    known = folder("locustfiles") / f"{scenario}.py"
    if not known.is_file():
        names = ", ".join(sorted(p.stem for p in folder("locustfiles").glob("*.py")))
        raise SettingsError(f"{scenario}: no scenario of this name; there are {names}")
    return known


def locust_arguments(locustfile: Path, given: dict[str, object], rest: list[str]) -> list[str]:
    """Locust's command line: headless, without its running tables, failures left to our verdict."""
    line = ["-f", str(locustfile), "--headless", "--only-summary", "--exit-code-on-error", "0"]
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
