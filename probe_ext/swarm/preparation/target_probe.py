"""Query the server before a run: what it is, which model answers, how long a prompt is in its tokens."""

import os
from dataclasses import dataclass
from typing import Any

import gevent

from probe_ext.bundled import folder
from probe_ext.client.wire.address import parse_target
from probe_ext.measure import clock
from probe_ext.measure.fluidity import Deadlines
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.settings.prometheus_access import prometheus_source
from probe_ext.settings.secrets import api_key
from probe_ext.settings.slo import load_profile
from probe_ext.swarm.users.prompt_source import calibrated
from probe_ext.target.before_load import Busy, look
from probe_ext.target.fetch import Fetcher
from probe_ext.target.identity import OK, identify
from probe_ext.target.prometheus_check import prometheus_problem
from probe_ext.tls_trust import client_context


@dataclass(frozen=True)
class Preparation:
    """What the manifest records of the target, and what workers need to know."""

    host: str
    model: str | None
    model_from: str
    server: list[dict[str, Any]]
    metrics_urls: tuple[str, ...]
    prompts: dict[str, Any]
    problem: str | None
    """why no reply can be expected, in one line"""
    profile: dict[str, Any]
    """the SLO profile, in full"""
    deadlines: Deadlines | None = None
    """when the profile wants each token of a reply"""
    busy: str | None = None
    """that the server had requests before this run sent any, in one line"""
    warm_up: dict[str, Any] | None = None
    """cost of the warm-up before the run"""


def prepare(host: str | None, options: Options) -> Preparation:
    """Query the server. SettingsError if an option cannot work with it."""
    if not host:
        raise SettingsError("--host: missing (e.g. --host http://127.0.0.1:8000)")
    try:
        target = parse_target(host)
        key = api_key()
        client_context(options.tls)  # refuse wrong files now, in one line
    except ValueError as error:
        raise SettingsError(str(error)) from error
    profile = load_profile(options.slo, folder("configs") / "slo")  # refuse a wrong profile now, not after the run
    fetcher = Fetcher(key, home=target.url, tls=options.tls, timeout=options.timeout_connect)
    _check_prometheus(options)
    with_metrics = not options.no_metrics
    server = identify(target.url, fetcher, options.metrics_url, options.model, with_metrics=with_metrics)
    models = server[0]["models"]
    model = options.model or (models[0] if models else None)
    problem = _problem(target.url, model, models, options, server[0])
    busy = _look_before_load(server, options, fetcher, model) if problem is None else None
    seed = options.prompt_seed if options.prompt_seed is not None else int(clock.wall())
    prompts = calibrated(target, model or "", options, fetcher, seed) if problem is None else {}
    return Preparation(
        host=target.url,
        model=model,
        model_from="option" if options.model else "server",
        server=server,
        # given URLs are polled unchanged; those from `identify` have no secrets
        metrics_urls=options.metrics_url or tuple(e["metrics_url"] for e in server if e.get("metrics_url")),
        prompts=prompts,
        problem=problem,
        profile=profile.model_dump(mode="json"),
        deadlines=profile.deadlines,
        busy=busy,
    )


def _look_before_load(
    server: list[dict[str, Any]], options: Options, fetcher: Fetcher, model: str | None
) -> str | None:
    """Add to each server the requests that it has before this run sends any; return them in words, None without any."""
    running = waiting = 0
    given = () if options.no_metrics else options.metrics_url
    urls: list[str | None] = [*(given or (entry.get("metrics_url") for entry in server))]
    for entry, url in zip(server, urls, strict=True):
        readable = entry["metrics"] == OK and url is not None
        found = look(url, model, fetcher.get, gevent.sleep) if url is not None and readable else Busy()
        entry |= {"running_before": found.running, "waiting_before": found.waiting}
        running, waiting = running + (found.running or 0), waiting + (found.waiting or 0)
    if not running and not waiting:
        return None
    verb = "is" if running + waiting == 1 else "are"
    return f"others are using the server: {running:,} running and {waiting:,} waiting {verb} not of this run"


def _check_prometheus(options: Options) -> None:
    """SettingsError if the Prometheus from which the server's metrics are to be read has none."""
    source = prometheus_source(options.prometheus, options.prometheus_match, os.environ)
    if source is None:
        return
    fetcher = Fetcher(home=source.url, timeout=options.timeout_connect, authorization=source.authorization)
    why = prometheus_problem(source.url, source.match, fetcher)
    if why:
        raise SettingsError(f"--prometheus {source.url}: {why}")


def _problem(
    url: str, model: str | None, models: list[str] | None, options: Options, server: dict[str, Any]
) -> str | None:
    if models is not None and options.model and options.model not in models:
        return f"--model {options.model}: the server at {url} lists {', '.join(models[:5]) or 'no models'}"
    why = server.get("models_error")
    if why and not _answered(why):
        return f"--host {url}: {why}"
    if model is None:
        return f"--host {url}: {_no_models(why) if why else 'lists no models; name one with --model'}"
    limit = server.get("max_model_len")
    if limit and options.input_tokens + options.max_tokens > limit:
        asked = f"--input-tokens {options.input_tokens} and --max-tokens {options.max_tokens}"
        return f"{asked}: together more than the {limit} tokens of {model}'s context at {url}; lower one of them"
    return None


def _no_models(why: str) -> str:
    """Say what may be wrong with a server that returns no list of models."""
    what = why if why.startswith("/v1/models") else f"/v1/models: {why}"
    return (
        f"{what}: not an OpenAI-compatible server, or a wrong port or path prefix? "
        "If the server does not list models, name one with --model"
    )


def _answered(why: str) -> bool:
    """Whether a server without a list of models may still work: it answered by HTTP, and did not refuse the key."""
    return why.startswith("/v1/models") or (why[:3].isdigit() and why[:3] not in {"401", "403"})
