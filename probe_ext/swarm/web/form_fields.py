"""The fields of the start form: which groups they are in, what they are called, and what they hold now."""

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from locust.argument_parser import ui_extra_args_dict

from probe_ext.settings.options import OPTIONS
from probe_ext.swarm.locust_options import offered

Kind = Literal["text", "lines", "flag", "choice", "secret"]
_OPTIONS = {option.name: option for option in OPTIONS}


@dataclass(frozen=True)
class Field:
    """One field."""

    name: str
    label: str
    help: str
    kind: Kind
    value: str
    """as text; a flag is `true` or `false`"""
    default: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """A question, its fields, and those that few people need."""

    title: str
    fields: tuple[Field, ...]
    more: tuple[Field, ...] = ()
    folded: bool = False


@dataclass(frozen=True)
class Mode:
    """A way to decide how many users there are, and its fields."""

    name: str
    label: str
    help: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class StartForm:
    """The whole form."""

    groups: tuple[Group, ...]
    """without the one of the modes"""
    modes: tuple[Mode, ...]
    mode: str
    """the one that is chosen"""
    every_level: tuple[Field, ...]
    """what holds for every mode that measures levels"""
    always: tuple[Field, ...]
    """what holds for every mode"""


_LABELS = {
    "workload": "Workload",
    "input_tokens": "Prompt length, tokens",
    "max_tokens": "Reply length, tokens at most",
    "shared_prefix_tokens": "Shared prefix",
    "no_stream": "Do not stream",
    "ignore_eos": "Ignore the end of text",
    "prompt_seed": "Prompt seed",
    "temperature": "Temperature",
    "top_p": "Top-p",
    "usage": "Token usage",
    "host": "Address",
    "model": "Model",
    "api": "API",
    "header": "Headers",
    "body": "Body fields",
    "insecure": "No TLS verification",
    "reconnect": "Reconnect",
    "no_metrics": "No server metrics",
    "metrics_every": "Read metrics every",
    "warm_up": "Warm-up",
    "think_time": "Users' think time",
    "slo": "SLO profile",
    "window": "Rolling window",
    "team_think_time": "Team's think time",
    "price_per_hour": "Price per hour",
    "timeout_connect": "Connecting",
    "timeout_first": "First token",
    "timeout_gap": "Between tokens",
    "timeout_total": "Whole reply",
    "patience": "Users give up after",
    "drain": "Last replies may take",
    "user_count": "Users",
    "spawn_rate": "Users started per second",
    "run_time": "Stop after",
    "levels": "Levels",
    "hold": "Hold each level",
    "settle": "Settling time",
    "min_replies": "Replies per user",
    "max_users": "At most users",
    "precision": "Precision",
    "search_time": "Time limit",
    "rate": "Requests per second",
    "max_in_flight": "In flight at most",
}
_HELP = {
    "api": "chat, completion and responses are OpenAI's, messages is Anthropic's",
    "input_tokens": "as the server counts them; ignored where the prompts are your own",
    "max_tokens": "",
    "model": "empty: the first chat model that the server lists",
    "team_think_time": "e.g. 60s: what people need to read and think, for the team size in the report",
    "think_time": "e.g. 30s: mean pause between a reply and the next request; 0: users ask again at once",
    "price_per_hour": "of the server, for the costs in the report",
    "host": "where the server is reached, e.g. http://localhost:8000",
    "user_count": "at the start; change the number at any time with Edit",
    "spawn_rate": "",
    "run_time": "e.g. 10m; empty: until you press Stop",
    "levels": "numbers of users to hold, one after another, e.g. 1,2,4,8",
    "slo": "what a reply must keep to be served; an old run can be judged again by another profile",
    "patience": "abort a reply after this long without a token; empty: never",
    "warm_up": "requests at once, up to which the server is warmed up before the run; auto: one per user; off: none",
    "max_users": "",
    "search_time": "",
    "min_replies": "a level goes on until each user has so many",
}
_ASKED = ("workload", "input_tokens", "max_tokens", "think_time")
_ASKED_MORE = ("shared_prefix_tokens", "prompt_seed", "temperature", "top_p", "usage", "ignore_eos", "no_stream")
_SERVER = ("host", "model", "api")
_SERVER_MORE = ("header", "body", "metrics_every", "no_metrics", "reconnect", "insecure")
_VERDICT = ("slo", "team_think_time", "price_per_hour")
_VERDICT_MORE = ("window",)
_TIMEOUTS = ("timeout_connect", "timeout_first", "timeout_gap", "timeout_total", "patience", "drain")
_EVERY_LEVEL = ("hold", "settle", "min_replies")
_MODES = {
    "search": (
        "Search",
        "finds how many people can be served, as “probe run” does: doubles the number, then closes in on the limit",
        ("max_users", "precision", "search_time"),
    ),
    "hand": (
        "By hand",
        "you change the number of users with Edit; each number that you keep for about half a minute becomes a level",
        ("user_count", "spawn_rate", "run_time"),
    ),
    "levels": ("Levels", "the numbers that you name are held one after another, then the run ends", ("levels",)),
    "rate": (
        "Open stream",
        "requests arrive at given rates, whether or not earlier ones have been answered",
        ("rate", "max_in_flight"),
    ),
}
_SHAPED = (
    "As the locustfile says",
    "it has a load shape, which decides how many users there are",
    ("run_time",),
)
_OF_LOCUST = ("user_count", "spawn_rate", "run_time", "host")
_MODE_FLAGS = frozenset({"search"})  # options that a mode stands for


def start_form(given: Namespace, host: str | None, *, shaped: bool) -> StartForm:
    """Return the form with the values in force. `shaped`: the locustfile has a load shape of its own."""
    shown = ui_extra_args_dict(None)
    fields = {field.name: field for field in _fields(given, host, shown)}

    def some(names: tuple[str, ...]) -> tuple[Field, ...]:
        return tuple(fields[name] for name in names if name in fields)

    own = tuple(field for name, field in fields.items() if name not in _OPTIONS and name not in _OF_LOCUST)
    groups = [
        Group("The server", some(_SERVER), some(_SERVER_MORE)),
        Group("What is asked", some(_ASKED), some(_ASKED_MORE)),
        Group("The verdict", some(_VERDICT), some(_VERDICT_MORE)),
        Group("Timeouts", some(_TIMEOUTS), folded=True),
        *([Group("Of this locustfile", own)] if own else []),
    ]
    named = {**_MODES, **({"hand": _SHAPED} if shaped else {})}
    modes = tuple(Mode(name, label, text, some(names)) for name, (label, text, names) in named.items())
    return StartForm(tuple(groups), modes, _chosen(given), some(_EVERY_LEVEL), some(("warm_up",)))


def all_fields(form: StartForm) -> Iterator[Field]:
    """Return all fields."""
    for group in form.groups:
        yield from (*group.fields, *group.more)
    for mode in form.modes:
        yield from mode.fields
    yield from (*form.every_level, *form.always)


def current_values(form: StartForm) -> dict[str, str | bool]:
    """Return what Locust's own forms have to start from; they would fall back to the command line's values."""
    flags = {"search": form.mode == "search"}
    values = {
        f.name: f.value == "true" if f.kind == "flag" else f.value for f in all_fields(form) if f.kind != "secret"
    }
    return {**values, **flags}


def as_form_value(value: object) -> str:
    """Return the text that a form shows and sends for a value of Locust's options."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _chosen(given: Namespace) -> str:
    if as_form_value(getattr(given, "search", None)) == "true":
        return "search"
    return next((name for name in ("levels", "rate") if getattr(given, name, None)), "hand")


def _fields(given: Namespace, host: str | None, shown: Mapping[str, Mapping[str, Any]]) -> Iterator[Field]:
    yield _field("host", host, {})
    yield _field("user_count", getattr(given, "num_users", None) or 1, {"default_value": "1"})
    yield _field("spawn_rate", getattr(given, "spawn_rate", None) or 1, {"default_value": "1"})
    seconds = getattr(given, "run_time", None)
    yield _field("run_time", f"{seconds}s" if isinstance(seconds, int) else seconds, {})
    for name, details in shown.items():
        if name not in _MODE_FLAGS:
            yield _field(name, getattr(given, name, details["default_value"]), details)


def _field(name: str, value: object, details: Mapping[str, Any]) -> Field:
    option = _OPTIONS.get(name)
    default = details.get("default_value")
    choices = tuple(map(str, details.get("choices") or ()))
    kind: Kind = "flag" if isinstance(default, bool) else "choice" if choices else "text"
    if details.get("is_secret"):
        kind = "secret"
    if option is not None:
        choices = offered(name) if name in {"workload", "slo"} else option.choices
        kind = "flag" if option.default is False else "choice" if choices else "lines" if option.repeatable else "text"
        default = option.default
    help_text = _HELP.get(name, option.help if option else str(details.get("help_text") or ""))
    label = _LABELS.get(name, name.replace("_", " ").capitalize())
    if kind == "choice" and name == "workload":
        choices = ("", *choices)
    return Field(name, label, _for_form(help_text), kind, _lines(value), as_form_value(default), choices)


def _for_form(text: str) -> str:
    """Return a help text without the names of flags, which the form does not show."""
    for option in OPTIONS:
        text = text.replace(f"{option.flag} ", f"{_LABELS.get(option.name, option.name)} ")
    return text


def _lines(value: object) -> str:
    """Return a value as text; of a repeated option, one entry a line."""
    text = as_form_value(value)
    if not text.startswith("["):
        return text
    try:
        entries = json.loads(text)
    except ValueError:
        return text
    return "\n".join(map(str, entries)) if isinstance(entries, list) else text
