"""Every option of the package: its name, default, meaning, and how its text is read.

One table serves Locust's command line, its web form, environment variables and the documentation. API keys are no
option: they come from the environment alone (`PROBE_API_KEY`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from probe_ext.load.boundary_search import SearchPlan
from probe_ext.load.level_plan import MAX_USERS, LevelPlan, parse_levels
from probe_ext.settings.durations import seconds
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.prometheus_access import matchers, prometheus_url
from probe_ext.target import urls

KEY_VARIABLE = "PROBE_API_KEY"
"""no other: a developer's key for somebody else's service must not reach whatever server is under test"""
WEB_PASSWORD_VARIABLE = "PROBE_WEB_PASSWORD"  # noqa: S105 - a name
"""of Locust's web UI, where it has a login; no option, as it would stand in the list of processes"""
_SHOWN = 80
"""characters of a refused value that are repeated"""
_WHOLE = re.compile(r"[0-9]{1,18}")
_REAL = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,18})?")
_PASSWORD = re.compile(r"//[^/@\s]*@")
_YES = {"1", "true", "yes", "on"}
_NO = {"", "0", "false", "no", "off"}


def _text(text: str) -> str | None:
    return text.strip() or None


def _count(text: str) -> int:
    if not _WHOLE.fullmatch(text.strip()) or int(text) < 1:
        raise ValueError("is no whole number of 1 or more")
    return int(text)


def _number(text: str) -> int:
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError("is no whole number of 0 or more")
    return int(text)


def _users(text: str) -> int:
    value = _count(text)
    if value > MAX_USERS:
        raise ValueError(f"is more than {MAX_USERS} users")
    return value


def _real(text: str) -> float | None:
    if not text.strip():
        return None
    if not _REAL.fullmatch(text.strip()):  # stricter than float(), which reads nan, inf and 1_0
        raise ValueError("is no number")
    return float(text)


def _share(text: str) -> float:
    """`20%` or `0.2`."""
    text = text.strip()
    value = _real(text.removesuffix("%"))
    if value is None:
        raise ValueError("is not a valid share (e.g. 20%)")
    value = value / 100 if text.endswith("%") else value
    if not 0 < value <= 1:
        raise ValueError("must be more than 0 and at most 100%")
    return value


def _price(text: str) -> float | None:
    value = _real(text)
    if value is not None and value <= 0:
        raise ValueError("must be more than nothing")
    return value


def _warm_up(text: str) -> int | None:
    return {"auto": None, "off": 0}[text.strip()] if text.strip() in {"auto", "off"} else _count(text)


def _optional(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: read(text) if text.strip() else None


def _some_seconds(text: str) -> float:
    value = seconds(text)
    if value <= 0:
        raise ValueError("must be longer than nothing")
    return value


def _urls(text: str) -> tuple[str, ...]:
    urls = tuple(part.strip() for part in text.split(",") if part.strip())
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no http(s) URL")
    return urls


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return text

    return read


@dataclass(frozen=True)
class Option:
    """One option; a flag that takes no value has the default False."""

    name: str
    default: str | bool
    read: Callable[[str], Any]
    help: str
    metavar: str = "TEXT"

    @property
    def flag(self) -> str:
        """As on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """As in the environment."""
        return "PROBE_" + self.name.upper()


OPTIONS: tuple[Option, ...] = (
    Option("model", "", _text, "model to ask; default: the first that the server lists", "NAME"),
    Option("api", "chat", _one_of("chat", "completion"), "chat completions, or plain completions", "chat|completion"),
    Option("no_stream", False, bool, "ask for whole replies instead of streams"),
    Option("input_tokens", "200", _count, "length of a prompt in the server's own tokens", "N"),
    Option("max_tokens", "128", _count, "longest reply, in tokens", "N"),
    Option("shared_prefix_tokens", "0", _number, "tokens at the start of every prompt that are the same for all", "N"),
    Option("prompt_seed", "", _optional(_number), "the same seed gives the same prompts; default: new ones", "N"),
    Option("temperature", "", _real, "sampling temperature; default: the server's", "X"),
    Option("top_p", "", _real, "nucleus sampling; default: the server's", "X"),
    Option("ignore_eos", False, bool, "ask for replies of exactly --max-tokens (vLLM, SGLang, llama.cpp)"),
    Option(
        "usage",
        "continuous",
        _one_of("continuous", "final", "none"),
        "how often the server is asked to count tokens",
        "continuous|final|none",
    ),
    Option("levels", "", _optional(parse_levels), "numbers of users to hold, one after another: 1,2,4,8", "LIST"),
    Option("search", False, bool, "find the capacity: double the users until too few are served, then close in"),
    Option("max_users", "512", _users, "a search goes no higher", "N"),
    Option("precision", "20%", _share, "a search ends at an interval of this width, in parts of the estimate", "SHARE"),
    Option("search_time", "30m", _some_seconds, "a search ends after so long, whatever it has found", "TIME"),
    Option(
        "hold",
        "30s",
        _some_seconds,
        "how long a level is measured, at least; a search leaves one after 5 × this",
        "TIME",
    ),
    Option("settle", "5s", seconds, "left out of a level after the number of users stopped changing", "TIME"),
    Option("min_replies", "3", _count, "replies that every user finishes in a level (at most 5 × hold)", "N"),
    Option(
        "warm_up",
        "auto",
        _warm_up,
        "before a run 1, 2, 4, … N requests at once, not part of it; auto: as many as users are to come, up to 64",
        "N|auto|off",
    ),
    Option("timeout_connect", "10s", _some_seconds, "to connect, TLS included", "TIME"),
    Option("timeout_first", "120s", _some_seconds, "from sending to the first token", "TIME"),
    Option(
        "timeout_gap", "120s", _some_seconds, "between tokens; short ones would call a preempted reply dead", "TIME"
    ),
    Option("timeout_total", "1800s", _some_seconds, "for a whole reply", "TIME"),
    Option("patience", "", _optional(_some_seconds), "users hang up after so long without a token", "TIME"),
    Option("drain", "30s", seconds, "how long replies in flight may finish when the run ends", "TIME"),
    Option("insecure", False, bool, "do not check the server's TLS certificate and name"),
    Option("metrics_url", "", _urls, "where the server's metrics are; default: HOST/metrics; several: comma", "URL,…"),
    Option("metrics_every", "1s", _some_seconds, "how often the server's metrics are read", "TIME"),
    Option("no_metrics", False, bool, "do not read the server's metrics"),
    Option(
        "prometheus",
        "",
        prometheus_url,
        "take the server's metrics from this Prometheus, after the run, instead",
        "URL",
    ),
    Option("prometheus_match", "", matchers, 'which of its series: job="vllm"; default: all of them', "MATCHERS"),
    Option("slo", "chat", _text, "profile that says when a user feels served: a name or a file", "NAME|FILE"),
    Option("fail_under_users", "", _optional(_count), "exit code 1 when fewer users than this are proven served", "N"),
    Option(
        "team_think_time",
        "",
        _optional(seconds),
        "how long your people read and think between a reply and the next question: "
        "for the size of team in the report, the run does not change",
        "TIME",
    ),
    Option("price_per_hour", "", _price, "what an hour of the server costs, for the cost in the report", "N"),
    Option("out", "", _text, "the run's directory; default: reports/runs/<UTC time>-<scenario>", "DIR"),
    Option("force", False, bool, "replace a run that lies in --out"),
    Option("no_report", False, bool, "write the run, make no report"),
)


Plan = LevelPlan | SearchPlan


@dataclass(frozen=True)
class Options:
    """The options in force; each field is described in OPTIONS. Durations are seconds."""

    model: str | None
    api: str
    no_stream: bool
    input_tokens: int
    max_tokens: int
    shared_prefix_tokens: int
    prompt_seed: int | None
    temperature: float | None
    top_p: float | None
    ignore_eos: bool
    usage: str
    levels: tuple[int, ...] | None
    search: bool
    max_users: int
    precision: float
    """width of the interval to reach, as a share of the estimate"""
    search_time: float
    hold: float
    settle: float
    min_replies: int
    warm_up: int | None
    """requests at once of the last round; 0: off; None: as many as users are to come"""
    timeout_connect: float
    timeout_first: float
    timeout_gap: float
    timeout_total: float
    patience: float | None
    drain: float
    insecure: bool
    metrics_url: tuple[str, ...]
    metrics_every: float
    no_metrics: bool
    prometheus: str | None
    prometheus_match: str
    slo: str
    fail_under_users: int | None
    team_think_time: float | None
    price_per_hour: float | None
    out: str | None
    force: bool
    no_report: bool

    @property
    def plan(self) -> Plan | None:
        """The levels to hold, or the search for the boundary, if either was asked for."""
        if self.search:
            return SearchPlan(
                self.hold, self.settle, self.min_replies, self.max_users, self.search_time, self.precision
            )
        return LevelPlan(self.levels, self.hold, self.settle, self.min_replies) if self.levels else None

    def as_json(self) -> dict[str, Any]:
        """For the manifest: credentials in an address are left out."""
        shown = {"metrics_url": tuple(urls.shown(url) for url in self.metrics_url)}
        return {f.name: shown.get(f.name, getattr(self, f.name)) for f in fields(self)}


def read_options(given: Mapping[str, Any]) -> Options:
    """Read every option from its text. SettingsError names the option and its value."""
    values: dict[str, Any] = {}
    for option in OPTIONS:
        raw = given.get(option.name, option.default)
        raw = option.default if raw is None else raw
        try:
            values[option.name] = _switch(raw) if isinstance(option.default, bool) else option.read(str(raw))
        except ValueError as error:
            raise SettingsError(f"{option.flag} {_shown(raw)}: {error}") from error
    if values["search"] and values["levels"]:
        raise SettingsError(f"--levels {_shown(given['levels'])}: --search finds its levels itself; leave one out")
    if values["no_report"] and values["fail_under_users"] is not None:
        raise SettingsError("--no-report: --fail-under-users is judged by the report; leave one out")
    if values["slo"] is None:
        values["slo"] = "chat"
    return Options(**values)


def _shown(raw: object) -> str:
    """A refused value in one line, however odd or long it is."""
    text = _PASSWORD.sub("//***@", str(raw))
    short = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return short if short.isprintable() else repr(short)


def _switch(raw: object) -> bool:
    """A flag's value, also from the text of an environment variable."""
    text = str(raw).strip().lower()
    if text not in _YES | _NO:
        raise ValueError(f"is neither {', '.join(sorted(_YES))} nor {', '.join(sorted(_NO - {''}))}")
    return text in _YES
