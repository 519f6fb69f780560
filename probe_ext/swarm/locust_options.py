"""The package's options on Locust's command line and in its web form."""

from argparse import ArgumentParser, Namespace
from typing import Any

from probe_ext.bundled import folder
from probe_ext.settings.options import OPTIONS, Option
from probe_ext.settings.repeated_option import Collect
from probe_ext.settings.slo import profile_names
from probe_ext.workload.workload_file import workload_names

_NOT_IN_WEB = {
    *("metrics_url", "gpu_metrics", "prometheus", "prometheus_match"),
    *("out", "force", "no_report", "fail_under_users", "fail_under_rate", "fail_over", "baseline", "margin"),
    *("tls_ca", "tls_client_cert", "tls_client_key"),
    "header_env",  # it would let whoever opens the page send any of our secrets to the server
}
_DEFAULT_LEVELS, _FIND_HOST = "probe_default_levels", "probe_find_host"
_OPEN_ENDED = "probe_open_ended"
_ANNOUNCE_UI = "probe_announce_ui"
_started_with: dict[str, str] = {}
"""by option: the file that the UI was started with"""


_FIRST_ANSWER = {"search": True, "hold": "20s", "settle": "3s", "precision": "10%"}
"""options of `probe run` without a scenario: short levels give a first range sooner, and the search then goes on"""
_OPEN_ENDED_TIME = "1h"
"""time limit of a search that someone watches, and ends"""


def set_default_levels(parser: ArgumentParser, levels: str) -> None:
    """Have a run without levels, users or time use these levels; only `probe run` does."""
    parser.set_defaults(**{_DEFAULT_LEVELS: levels})


def default_levels(given: Namespace) -> str | None:
    """Return the levels of a run without any; None if Locust was not started by `probe run`."""
    return getattr(given, _DEFAULT_LEVELS, None)


def search_by_default(parser: ArgumentParser, *, open_ended: bool) -> None:
    """Have a run search for the capacity, with a first range as soon as possible.

    `open_ended`: it goes on after that until someone ends it, or its time is up.
    """
    parser.set_defaults(**_FIRST_ANSWER)
    if open_ended:
        parser.set_defaults(search_time=_OPEN_ENDED_TIME, **{_OPEN_ENDED: True})


def is_open_ended(given: Namespace) -> bool:
    """Whether a search goes on after its precision is reached."""
    return getattr(given, _OPEN_ENDED, False) is True


def find_host_by_default(parser: ArgumentParser) -> None:
    """Have a run without --host look for a server on this machine; `probe run` and `probe ui` do."""
    parser.set_defaults(**{_FIND_HOST: True})


def finds_host(given: Namespace) -> bool:
    """Whether to look for a server on this machine if no host is given."""
    return getattr(given, _FIND_HOST, False) is True


def open_web_ui(parser: ArgumentParser) -> None:
    """Serve the web UI on loopback unless another address is asked for, and print its address; `probe ui` does."""
    find_host_by_default(parser)
    parser.set_defaults(web_host="127.0.0.1", **{_ANNOUNCE_UI: True})


def announces_ui(given: Namespace) -> bool:
    """Whether to print the address of the web UI; plain Locust logs it."""
    return getattr(given, _ANNOUNCE_UI, False) is True


class Offered(list[str]):
    """Choices that the web form shows. The command line takes others, too: files."""

    def __contains__(self, value: object) -> bool:
        """Let argparse accept every value."""
        return True


def how_given(option: Option) -> dict[str, Any]:
    """Return argparse's keywords for the kind of an option."""
    if option.default is False:
        return {"action": "store_true"}
    return {"metavar": option.metavar, **({"action": Collect} if option.repeatable else {})}


def offer_files(given: Namespace) -> None:
    """Have the web form also offer the workload and the profile that the UI was started with, which may be files."""
    _started_with.clear()
    _started_with.update({name: text for name in ("workload", "slo") if (text := getattr(given, name, None))})


def offered(name: str) -> tuple[str, ...]:
    """Return what the web form offers for `workload` or `slo`: the package's own, and what the UI started with."""
    names = workload_names() if name == "workload" else profile_names(folder("configs") / "slo")
    return tuple(dict.fromkeys([*filter(None, [_started_with.get(name)]), *names]))


def add_options(parser: ArgumentParser, *, takes_workload: bool = False) -> None:
    """Add the package's options in a group of their own; each can also be set by an environment variable.

    `takes_workload`: the locustfile runs the one that is named, so that the web form offers a choice.
    """
    parser.allow_abbrev = False  # a misspelt `--level` would be taken for `--levels`
    group = parser.add_argument_group("probe-ext: how many users feel served")
    for option in OPTIONS:
        action: Any = group.add_argument(
            option.flag,
            dest=option.name,
            default=option.default,
            env_var=option.variable,
            help=option.help.replace("%", "%%"),
            **how_given(option),
        )
        # Locust sets these attributes only for arguments outside groups.
        action.include_in_web_ui = option.name not in _NOT_IN_WEB
        if option.name == "workload":
            action.include_in_web_ui = takes_workload
        if option.name in {"workload", "slo"}:
            action.choices = Offered(offered(option.name))
        action.is_secret = action.is_required = action.is_multiple = False
