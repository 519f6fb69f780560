"""The package's options on Locust's command line and in its web form."""

import json
from argparse import Action, ArgumentParser, Namespace
from typing import Any

from probe_ext.settings.options import OPTIONS, Option
from probe_ext.workload.workload_file import workload_names

_NOT_IN_WEB = {
    *("metrics_url", "gpu_metrics", "prometheus", "prometheus_match"),
    *("slo", "out", "force", "no_report", "fail_under_users", "fail_under_rate", "fail_over", "baseline", "margin"),
    *("tls_ca", "tls_client_cert", "tls_client_key"),
    "header_env",  # it would let whoever opens the page send any of our secrets to the server
}
_DEFAULT_LEVELS = "probe_default_levels"
_started_with: list[str] = []


def set_default_levels(parser: ArgumentParser, levels: str) -> None:
    """Have a run without levels, users or time use these levels; only `probe run` does."""
    parser.set_defaults(**{_DEFAULT_LEVELS: levels})


def default_levels(given: Namespace) -> str | None:
    """Return the levels of a run without any; None if Locust was not started by `probe run`."""
    return getattr(given, _DEFAULT_LEVELS, None)


class Offered(list[str]):
    """Choices that the web form shows. The command line takes others, too: files."""

    def __contains__(self, value: object) -> bool:
        """Let argparse accept every value."""
        return True


class Collect(Action):
    """Keeps all values of a repeated option, as the JSON list that its reader takes."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Add a value."""
        before = getattr(namespace, self.dest, None)
        collected = json.loads(before) if isinstance(before, str) and before.startswith("[") else []  # else a default
        setattr(namespace, self.dest, json.dumps([*collected, values], ensure_ascii=False))


def how_given(option: Option) -> dict[str, Any]:
    """Return argparse's keywords for the kind of an option."""
    if option.default is False:
        return {"action": "store_true"}
    return {"metavar": option.metavar, **({"action": Collect} if option.repeatable else {})}


def offer_workload(given: str | None) -> None:
    """Have the web form also offer the workload that the UI was started with, which may be a file."""
    _started_with[:] = [given] if given else []


def add_options(parser: ArgumentParser, *, takes_workload: bool = False) -> None:
    """Add the package's options in a group of their own; each can also be set by an environment variable.

    `takes_workload`: the locustfile runs the one that is named, so that the web form offers a choice.
    """
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
            action.choices = Offered(dict.fromkeys([*_started_with, *workload_names()]))
        action.is_secret = action.is_required = action.is_multiple = False
