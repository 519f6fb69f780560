"""Options of a run on the command line of a short look: by the same names, readers and environment variables."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from probe_ext.access.scenario import find_locustfile, scenario_defaults
from probe_ext.access.workload_lengths import sample_options
from probe_ext.exit_codes import ExitCode
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import OPTIONS, Options, read_options, refuse_empty_load
from probe_ext.settings.repeated_option import Collect
from probe_ext.workload.workload_file import read_workload

T = TypeVar("T")


def add_options(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Add these options of a run to a parser."""
    for option in OPTIONS:
        if option.name not in names:
            continue
        if option.default is False:
            parser.add_argument(option.flag, action="store_true", default=None, help=option.help)
        else:
            text = f"{option.help} [{option.default}]" if option.default else option.help
            how: dict[str, Any] = {"action": Collect} if option.repeatable else {}
            parser.add_argument(option.flag, metavar=option.metavar, help=text.replace("%", "%%"), **how)


def read_value(flag: str, text: str, reader: Callable[[str], T]) -> T:
    """Return the value of an option of this command alone. SettingsError if it is invalid."""
    try:
        return reader(text)
    except ValueError as error:
        raise SettingsError(f"{flag} {text}: {error}") from error


def name_url(problem: object, name: str = "URL") -> str:
    """Return a message about a run's `--host` as a command says it where the server is given as an argument, `URL`,
    or by another option.
    """
    return str(problem).replace("--host", name)


def usage_error(error: SettingsError) -> ExitCode:
    """Print why these options cannot be used."""
    print(f"probe: {name_url(error)}", file=sys.stderr)  # noqa: T201 - command output
    return ExitCode.USAGE


def options_of(given: argparse.Namespace, names: Sequence[str], scenario: str | None = None) -> Options:
    """Return the options in force: as given, else from the environment, else the scenario's defaults.

    With a workload, lengths and API are those of its longest kind. SettingsError for an invalid option, scenario or
    workload.
    """
    values: dict[str, object] = {}
    refuse_empty_load(vars(given))
    if scenario:
        values.update(scenario_defaults(find_locustfile(scenario)))
    for option in OPTIONS:
        from_environment = os.environ.get(option.variable)
        if option.name in names and from_environment is not None:
            values[option.name] = from_environment
        if option.name in names and getattr(given, option.name, None) is not None:
            values[option.name] = getattr(given, option.name)
    options = read_options(values)
    return sample_options(read_workload(options.workload), options) if options.workload else options
