"""What is found out before a run starts: who the server is, which model answers, how long a prompt is in its tokens."""

import os
from dataclasses import dataclass
from typing import Any

from probe_ext.bundled import folder
from probe_ext.client.address import parse_target
from probe_ext.measure import clock
from probe_ext.measure.fluidity import Deadlines
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.settings.prometheus_access import AUTHORITIES_VARIABLE, prometheus_source
from probe_ext.settings.secrets import api_key
from probe_ext.settings.slo import load_profile
from probe_ext.swarm.users.prompt_source import calibrated
from probe_ext.target.fetch import Fetcher
from probe_ext.target.identity import identify
from probe_ext.target.prometheus_check import prometheus_problem


@dataclass(frozen=True)
class Preparation:
    """What the manifest says of the target, and what workers need to know."""

    host: str
    model: str | None
    model_from: str
    server: list[dict[str, Any]]
    metrics_urls: tuple[str, ...]
    prompts: dict[str, Any]
    problem: str | None
    """why no reply can be expected, in one line; None if nothing speaks against it"""
    profile: dict[str, Any]
    """the SLO profile that the run is meant to be judged by"""
    deadlines: Deadlines | None = None
    """when that profile wants each token of a reply"""
    warm_up: dict[str, Any] | None = None
    """what the warm-up before the run cost; None without one"""


def prepare(host: str | None, options: Options) -> Preparation:
    """Ask the server about itself. SettingsError where an option cannot work with this server."""
    if not host:
        raise SettingsError("--host: no server given; for example --host http://127.0.0.1:8000")
    try:
        target = parse_target(host)
        key = api_key()
    except ValueError as error:
        raise SettingsError(str(error)) from error
    profile = load_profile(options.slo, folder("configs") / "slo")  # refused now, not when the run is over
    fetcher = Fetcher(key, home=target.url, verify=not options.insecure, timeout=options.timeout_connect)
    _check_prometheus(options)
    server = identify(target.url, fetcher, options.metrics_url, options.model)
    models = server[0]["models"]
    model = options.model or (models[0] if models else None)
    problem = _problem(target.url, model, models, options, server[0])
    seed = options.prompt_seed if options.prompt_seed is not None else int(clock.wall())
    prompts = calibrated(target, model or "", options, fetcher, seed) if problem is None else {}
    return Preparation(
        host=target.url,
        model=model,
        model_from="option" if options.model else "server",
        server=server,
        # what was given is polled as it was given: what `identify` tells is stripped of secrets
        metrics_urls=options.metrics_url or tuple(e["metrics_url"] for e in server if e.get("metrics_url")),
        prompts=prompts,
        problem=problem,
        profile=profile.model_dump(mode="json"),
        deadlines=profile.deadlines,
    )


def _check_prometheus(options: Options) -> None:
    """SettingsError where the Prometheus that is to tell the server's figures will tell none."""
    source = prometheus_source(options.prometheus, options.prometheus_match, os.environ)
    if source is None:
        return
    authorities = os.environ.get(AUTHORITIES_VARIABLE) or True
    fetcher = Fetcher(
        home=source.url, verify=authorities, timeout=options.timeout_connect, authorization=source.authorization
    )
    why = prometheus_problem(source.url, source.match, fetcher)
    if why:
        raise SettingsError(f"--prometheus {source.url}: {why}")


def _problem(
    url: str, model: str | None, models: list[str] | None, options: Options, server: dict[str, Any]
) -> str | None:
    if models is not None and options.model and options.model not in models:
        return f"--model {options.model}: the server at {url} lists {', '.join(models[:5]) or 'none'}"
    why = server.get("models_error")
    if why and not _answered(why):
        return f"--host {url}: {why}"
    if model is None:
        return f"--host {url}: {_listless(why) if why else 'lists no models; name one with --model'}"
    limit = server.get("max_model_len")
    if limit and options.input_tokens + options.max_tokens > limit:
        asked = f"--input-tokens {options.input_tokens} and --max-tokens {options.max_tokens}"
        return f"{asked}: more than the {limit} tokens that {model} at {url} takes; ask for fewer"
    return None


def _listless(why: str) -> str:
    """What a server may be that gives no list of models; which of it is not known."""
    what = why if why.startswith("/v1/models") else f"/v1/models: {why}"
    return (
        f"{what}: perhaps no OpenAI-compatible server, or a wrong port or path prefix; "
        "if it is one that lists no models, name the model with --model"
    )


def _answered(why: str) -> bool:
    """Whether a server that gives no list of models may answer all the same: it spoke HTTP, and asked for no key."""
    return why.startswith("/v1/models") or (why[:3].isdigit() and why[:3] not in {"401", "403"})
