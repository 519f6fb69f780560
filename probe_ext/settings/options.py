"""All options of the package: one table for the command line, the web form, the environment and the documentation."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from probe_ext.load.boundary_search import SearchPlan
from probe_ext.load.level_plan import LevelPlan, parse_levels, parse_rate, parse_rates
from probe_ext.load.series_plan import SeriesPlan
from probe_ext.measure.rate import Rate, as_json
from probe_ext.settings import readers as read
from probe_ext.settings import request_extras as extras
from probe_ext.settings.durations import seconds
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.gate_limits import limits_text
from probe_ext.settings.prometheus_access import matchers, prometheus_url
from probe_ext.settings.secrets import API_KEY_VARIABLE as KEY_VARIABLE
from probe_ext.settings.secrets import WEB_PASSWORD_VARIABLE
from probe_ext.target.control import urls
from probe_ext.tls_trust import TlsSettings

__all__ = ["KEY_VARIABLE", "OPTIONS", "WEB_PASSWORD_VARIABLE", "Option", "Options", "Plan", "read_options"]

Plan = LevelPlan | SearchPlan | SeriesPlan
T = TypeVar("T")

_MAX_SHOWN_LENGTH = 80
_PASSWORD_IN_URL = re.compile(r"//[^/@\s]*@")


@dataclass(frozen=True)
class Option:
    """How one option is given: its default as text (False for a flag without a value), reader and help."""

    name: str
    default: str | bool
    read: Callable[[str], Any]
    help: str
    metavar: str
    repeatable: bool = False
    """whether it may be given several times; the text then has one entry a line, or is a JSON list"""
    choices: tuple[str, ...] = ()
    """all values, if there are few"""

    @property
    def flag(self) -> str:
        """Command-line flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Environment variable."""
        return "PROBE_" + self.name.upper()


def _option(read: Callable[[str], T], default: str, help_: str, metavar: str, *, repeatable: bool = False) -> T:
    """Declare an option that takes a value; typed as the value, as `dataclasses.field` is."""
    given = {"default": default, "read": read, "help": help_, "metavar": metavar, "repeatable": repeatable}
    return field(default=read(default), metadata=given)


def _choice(choices: tuple[str, ...], default: str, help_: str) -> str:
    """Declare an option that takes one of a few values."""
    given = {"default": default, "read": read.one_of(*choices), "help": help_, "metavar": "|".join(choices)}
    return field(default=default, metadata={**given, "choices": choices})


def _flag(help_: str) -> bool:
    return field(default=False, metadata={"default": False, "read": read.switch, "help": help_, "metavar": ""})


@dataclass(frozen=True)
class Options:
    """The options in force, each with its default. Durations are seconds."""

    model: str | None = _option(
        read.text_or_none, "", "model name (default: the first chat model listed by the server)", "NAME"
    )
    api: str = _choice(
        ("chat", "completion", "responses", "messages"),
        "chat",
        "API: OpenAI chat completions, completions or Responses, or Anthropic Messages",
    )
    workload: str | None = _option(
        read.text_or_none,
        "",
        "workload: kinds of user with their own prompts, pauses, reply lengths and profiles (see `probe list`)",
        "NAME|FILE",
    )
    no_stream: bool = _flag("request complete replies instead of streams")
    input_tokens: int = _option(read.positive_int, "200", "prompt length in tokens, as the server counts them", "N")
    max_tokens: int = _option(read.positive_int, "128", "maximum reply length in tokens", "N")
    shared_prefix_tokens: int = _option(
        read.non_negative_int, "0", "length in tokens of a prefix that all prompts share", "N"
    )
    prompt_seed: int | None = _option(
        read.optional(read.non_negative_int), "", "seed for reproducible prompts (default: random)", "N"
    )
    temperature: float | None = _option(
        read.optional(read.number), "", "sampling temperature (default: the server's)", "X"
    )
    top_p: float | None = _option(
        read.optional(read.number), "", "nucleus sampling threshold (default: the server's)", "X"
    )
    ignore_eos: bool = _flag("generate exactly --max-tokens tokens (vLLM, SGLang, llama.cpp)")
    usage: str = _choice(
        ("continuous", "final", "none"),
        "continuous",
        "token usage requested from the server: with every event, at the end of a reply, or never",
    )
    header: tuple[str, ...] = _option(
        extras.headers,
        "",
        "header sent with every request, repeatable; for values that are secret see --header-env",
        "NAME:VALUE",
        repeatable=True,
    )
    header_env: tuple[str, ...] = _option(
        extras.header_variables,
        "",
        "header whose value is read from an environment variable of each process, repeatable",
        "NAME=VARIABLE",
        repeatable=True,
    )
    body: str | None = _option(
        extras.body_fields, "", "JSON object whose fields are added to the body of every request", "JSON|FILE"
    )
    levels: tuple[int, ...] | None = _option(
        read.optional(parse_levels), "", "user counts to hold, one after another, e.g. 1,2,4,8", "LIST"
    )
    rate: tuple[Rate, ...] | None = _option(
        read.optional(parse_rates),
        "",
        "arrival rates to hold, one after another, e.g. 0.5,2,4: an open stream of requests per second that does not "
        "wait for replies",
        "LIST",
    )
    max_in_flight: int = _option(
        read.user_count, "512", "maximum requests of --rate in flight; others wait, and count as late", "N"
    )
    search: bool = _flag("search for the capacity: double the users until too few replies are served, then close in")
    max_users: int = _option(read.user_count, "512", "upper bound for --search", "N")
    precision: float = _option(
        read.share, "20%", "width of the 95 % interval at which --search ends, as a share of the estimate", "SHARE"
    )
    search_time: float = _option(read.positive_seconds, "30m", "time limit for --search", "TIME")
    hold: float = _option(
        read.positive_seconds,
        "30s",
        "minimum measuring time per level; a level that a few more replies would prove is held longer",
        "TIME",
    )
    settle: float = _option(seconds, "5s", "ramp excluded from each level's measurements", "TIME")
    min_replies: int = _option(
        read.positive_int,
        "3",
        "replies that every user completes at each level (extends it to at most 5 × --hold)",
        "N",
    )
    think_time: float = _option(
        read.pause,
        "0s",
        "mean pause of each user between a reply and the next request (exponential), where the scenario sets none",
        "TIME",
    )
    warm_up: int | None = _option(
        read.warm_up_requests,
        "auto",
        "warm up with rounds of 1, 2, 4, … N concurrent requests before the run (auto: one per user, at most 64)",
        "N|auto|off",
    )
    timeout_connect: float = _option(read.positive_seconds, "10s", "timeout for connecting, TLS included", "TIME")
    timeout_first: float = _option(read.positive_seconds, "120s", "timeout for the first token", "TIME")
    timeout_gap: float = _option(
        read.positive_seconds, "120s", "timeout between tokens; a short one aborts preempted replies", "TIME"
    )
    timeout_total: float = _option(read.positive_seconds, "1800s", "timeout for a whole reply", "TIME")
    patience: float | None = _option(
        read.optional(read.positive_seconds), "", "abort a reply after this long without a token", "TIME"
    )
    drain: float = _option(seconds, "30s", "time for replies in flight to finish when the run ends", "TIME")
    reconnect: bool = _flag("open a new connection for every request, so that a load balancer can send it elsewhere")
    insecure: bool = _flag("skip TLS verification")
    tls_ca: str | None = _option(
        read.text_or_none, "", "PEM file of certificate authorities to trust besides the system's", "FILE"
    )
    tls_client_cert: str | None = _option(
        read.text_or_none, "", "PEM file of the certificate that the server requires of its clients", "FILE"
    )
    tls_client_key: str | None = _option(
        read.text_or_none, "", "PEM file of its private key (default: in the same file)", "FILE"
    )
    metrics_url: tuple[str, ...] = _option(
        read.url_list, "", "metrics endpoint URLs, comma-separated (default: HOST/metrics)", "URL,…"
    )
    metrics_every: float = _option(read.positive_seconds, "1s", "interval between metrics scrapes", "TIME")
    no_metrics: bool = _flag("do not scrape the server's metrics")
    gpu_metrics: tuple[str, ...] = _option(
        read.url_list,
        "",
        "URLs of GPU exporters (DCGM, nvidia_gpu_exporter, AMD), comma-separated; URL#0+1: only these GPUs",
        "URL,…",
    )
    prometheus: str | None = _option(
        prometheus_url, "", "query server metrics from this Prometheus after the run, instead of scraping", "URL"
    )
    prometheus_match: str = _option(matchers, "", 'label matchers, e.g. job="vllm" (default: all series)', "MATCHERS")
    slo: str = _option(
        lambda text: text.strip() or "chat", "chat", "SLO profile that replies are judged by: name or file", "NAME|FILE"
    )
    fail_under_users: int | None = _option(
        read.optional(read.positive_int), "", "exit with code 1 if fewer users are proven served", "N"
    )
    fail_under_rate: Rate | None = _option(  # noqa: RUF009 -- a number
        read.optional(parse_rate), "", "exit with code 1 if fewer requests per second are proven served", "RATE"
    )
    fail_over: str | None = _option(
        limits_text,
        "",
        "exit with code 1 unless these figures are proven to be within their limits",
        "FIGURE=LIMIT,…",
    )
    baseline: str | None = _option(
        read.text_or_none, "", "exit with code 1 unless the run is proven not to be worse than this one", "RUN|FILE"
    )
    margin: float = _option(read.share, "10%", "how much worse than --baseline still counts as not worse", "SHARE")
    team_think_time: float | None = _option(
        read.optional(seconds),
        "",
        "time your users take between a reply and their next request, for the team size in the report; "
        "does not change the run",
        "TIME",
    )
    price_per_hour: float | None = _option(
        read.optional(read.positive_number), "", "price of the server per hour, for costs in the report", "N"
    )
    window: float = _option(
        read.positive_seconds,
        "15m",
        "rolling window through which a run of at least two windows is shown: throughput, TTFT, failures",
        "TIME",
    )
    out: str | None = _option(
        read.text_or_none, "", "run directory (default: reports/runs/<UTC time>-<scenario>)", "DIR"
    )
    force: bool = _flag("replace an existing run in --out")
    no_report: bool = _flag("skip the report")

    @property
    def plan(self) -> Plan | None:
        """The levels to hold or the search, None if neither was requested."""
        if self.search:
            return SearchPlan(
                self.hold, self.settle, self.min_replies, self.max_users, self.search_time, self.precision
            )
        levels = self.levels or self.rate
        return LevelPlan(levels, self.hold, self.settle, self.min_replies) if levels else None

    @property
    def tls(self) -> TlsSettings:
        """How to talk TLS to the server under test."""
        return TlsSettings(self.tls_ca, self.tls_client_cert, self.tls_client_key, self.insecure)

    @property
    def body_extras(self) -> dict[str, Any]:
        """The fields of --body."""
        fields: dict[str, Any] = json.loads(self.body) if self.body else {}
        return fields

    def as_json(self) -> dict[str, Any]:
        """Return all options for the manifest, without credentials in URLs."""
        metrics = tuple(urls.shown(url) for url in self.metrics_url)
        gpus = tuple(urls.shown_gpus(url) for url in self.gpu_metrics)
        rates = {"rate": as_json(self.rate), "fail_under_rate": as_json(self.fail_under_rate)}
        return {**asdict(self), "metrics_url": metrics, "gpu_metrics": gpus, **rates}


OPTIONS: tuple[Option, ...] = tuple(Option(f.name, **f.metadata) for f in fields(Options))


def read_options(given: Mapping[str, Any]) -> Options:
    """Read all options; a missing or None value means the default. SettingsError names the option and its value."""
    values: dict[str, Any] = {}
    for option in OPTIONS:
        value = given.get(option.name)
        if value is not None:
            try:
                values[option.name] = option.read(str(value))
            except extras.HiddenValueError as error:
                raise SettingsError(f"{option.flag} {_shown(error)}") from error
            except ValueError as error:
                raise SettingsError(f"{option.flag} {_shown(value)}: {error}") from error
    options = Options(**values)
    if options.search and options.levels:
        raise SettingsError(f"--levels {_shown(given['levels'])}: cannot be combined with --search")
    if options.rate and (options.levels or options.search):
        other = "--levels" if options.levels else "--search"
        raise SettingsError(f"--rate {_shown(given['rate'])}: cannot be combined with {other}")
    if options.rate and options.think_time:
        raise SettingsError(
            f"--think-time {_shown(given['think_time'])}: cannot be combined with --rate, which says when requests come"
        )
    both = {*map(str.lower, extras.header_pairs(options.header))} & {
        *map(str.lower, extras.variable_pairs(options.header_env))
    }
    if both:
        raise SettingsError(f"--header {min(both)}: is also given with --header-env")
    _check_gate(options)
    return options


def refuse_empty_load(given: Mapping[str, Any]) -> None:
    """SettingsError for levels or rates given as nothing on a command line: a shell variable was probably not set.

    An empty field of the web form, or an empty environment variable, means that none are given.
    """
    for name, example in (("levels", "1,2,4,8"), ("rate", "0.5,2,4")):
        value = given.get(name)
        if isinstance(value, str) and not value.strip():
            raise SettingsError(f"--{name} {value!r}: must not be empty (e.g. {example})")


def refuse_search_limits(given: Mapping[str, Any]) -> None:
    """SettingsError for limits of a search beside levels or rates, where they would have no effect."""
    load = next((name for name in ("levels", "rate") if given.get(name)), None)
    if load is None or given.get("search"):
        return
    for name in ("search_time", "max_users", "precision"):
        if given.get(name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise SettingsError(f"{flag} {_shown(given[name])}: cannot be combined with --{load}; it needs --search")


def _check_gate(options: Options) -> None:
    """SettingsError if a gate can't be met by the run that the options ask for."""
    for gate in ("fail_under_users", "fail_under_rate", "fail_over", "baseline"):
        flag, given = f"--{gate.replace('_', '-')}", getattr(options, gate) is not None
        if given and options.no_report:
            raise SettingsError(f"--no-report: cannot be combined with {flag}, which needs the report")
        if given and options.rate and gate != "fail_under_rate":
            raise SettingsError(f"{flag}: cannot be combined with --rate; use --fail-under-rate")
    if (options.levels or options.search) and options.fail_under_rate is not None:
        raise SettingsError(f"--fail-under-rate {options.fail_under_rate}: needs --rate")


def _shown(value: object) -> str:
    """Quote an invalid value in one line: without a URL's password, shortened, control characters escaped."""
    text = _PASSWORD_IN_URL.sub("//***@", str(value))
    if isinstance(value, extras.HiddenValueError):
        return " ".join(text.split())
    short = text if len(text) <= _MAX_SHOWN_LENGTH else text[:_MAX_SHOWN_LENGTH] + "…"
    return short if short.isprintable() else repr(short)
