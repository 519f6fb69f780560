"""Check that servers answer before the first of them is put under load, with the options that their runs will have."""

import argparse
from collections.abc import Sequence

from probe_ext.access.known_server import fetcher_for, know_server, target_and_key
from probe_ext.access.start_problem import models_problem
from probe_ext.inspection.shared_options import add_options, name_url, options_of
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import OPTIONS, Options


def check_servers(urls: Sequence[str], arguments: Sequence[str]) -> None:
    """Ask each server for its models. SettingsError names the first that no run could start against.

    `arguments`: those of the runs, as on the command line of `probe run`; Locust's own are left to the runs.
    """
    options = _options(arguments)
    for url in dict.fromkeys(urls):
        try:
            target, key = target_and_key(url)
            problem = models_problem(know_server(target, fetcher_for(target, key, options), options), options)
        except SettingsError as error:
            problem = str(error)
        if problem is not None:
            raise SettingsError(name_url(problem))


def _options(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False, exit_on_error=False)
    names = [option.name for option in OPTIONS]
    add_options(parser, names)
    try:
        given, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise SettingsError(str(error)) from error
    return options_of(given, names)
