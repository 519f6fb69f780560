"""Who the target is: kind, version, models, context length and cache, for `run.json`'s `server` list.

Nothing here is needed to load a server, so every page may be missing. Answers are picked apart by name: SGLang's
`/get_server_info` holds the whole command line, secrets included, and never goes further than this module.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from probe_ext.target import urls
from probe_ext.target.cache_config import CONFIG, cache_configuration
from probe_ext.target.call_result import Answer, Failed, json_object
from probe_ext.target.catalogue import WANTED, read
from probe_ext.target.metrics_text import Unreadable, parse

OK = "ok"

_OWNERS = {
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llama.cpp",
    "library": "ollama",
    "lmdeploy": "lmdeploy",
    "nvidia": "nim",
    "tensorrt_llm": "tensorrt-llm",
}
_VERSIONS = {  # kind: path, key
    "sglang": ("/get_server_info", "version"),
    "llama.cpp": ("/props", "build_info"),
    "tgi": ("/info", "version"),
    "ollama": ("/api/version", "version"),
}
_USUAL_VERSION = ("/version", "version")


class Getter(Protocol):
    """What is needed of a `Fetcher`."""

    def get(self, url: str, timeout: float | None = None) -> Answer | Failed:
        """The answer to a GET."""


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of `/v1/models`."""

    id: str
    max_model_len: int | None
    owner: str | None


@dataclass(frozen=True, slots=True)
class Metrics:
    """What one metrics URL came to."""

    url: str
    state: str
    """`ok`, or why there are no figures"""
    kind: str | None = None
    cache: dict[str, Any] | None = None


def models(host: str, fetcher: Getter) -> tuple[Model, ...] | Failed:
    """The models that the server names; Failed says why there is no list."""
    answer = fetcher.get(f"{urls.base(host)}/v1/models")
    if isinstance(answer, Failed):
        return answer
    listed = (json_object(answer) or {}).get("data")
    if not isinstance(listed, list):
        return Failed("/v1/models: not a list of models")
    return tuple(_model(entry) for entry in listed if isinstance(entry, dict) and isinstance(entry.get("id"), str))


def _model(entry: dict[str, Any]) -> Model:
    owner = entry.get("owned_by")
    return Model(entry["id"], _count(entry.get("max_model_len")), owner if isinstance(owner, str) else None)


def find_metrics(host: str, fetcher: Getter, given: Sequence[str] = ()) -> tuple[Metrics, ...]:
    """Every metrics URL that was given, or the one that was found for the host (or the likeliest, saying why not)."""
    if given:
        return tuple(_metrics(url, fetcher) for url in given)
    tried: list[Metrics] = []
    for url in dict.fromkeys(urls.metrics_places(host)):
        tried.append(_metrics(url, fetcher))
        if tried[-1].state == OK:
            return (tried[-1],)
        if tried[-1].state in ("timed out", "connection refused", "host name not known"):
            break
    return (next((metrics for metrics in tried if metrics.state != "404"), tried[0]),)


def _metrics(url: str, fetcher: Getter) -> Metrics:
    answer = fetcher.get(url)
    if isinstance(answer, Failed):
        return Metrics(url, answer.why)
    page = parse(answer.body, WANTED | CONFIG)
    if isinstance(page, Unreadable):
        return Metrics(url, page.why)
    reading = read(page)
    if reading is None:
        return Metrics(url, "metrics of no engine known here")
    return Metrics(url, OK, reading.kind, cache_configuration(page))


def identify(
    host: str, fetcher: Getter, metrics_urls: Sequence[str] = (), model: str | None = None
) -> list[dict[str, Any]]:
    """Entries for `run.json`'s `server` list: the target first, then each further metrics URL that was given.

    Keys: `url, kind, version, models, max_model_len, cache, metrics`, and beside them `models_error` (why `models` is
    None) and `metrics_url`, the address that `server.csv` names (for reading: credentials are left out of it).
    `max_model_len` is that of `model`, or of the first model. What is not known is None; `kind` is `unknown`.
    """
    first, *others = find_metrics(host, fetcher, metrics_urls)
    listed = models(host, fetcher)
    known = () if isinstance(listed, Failed) else listed
    kind = first.kind or _kind(known, host, fetcher)
    chosen = next((m for m in known if m.id == model), known[0] if known else None)
    version, told = _version(kind, urls.roots(host), fetcher)
    cache = {**(first.cache or {}), **_told_cache(kind, told)}
    entry = {
        "url": urls.shown(host),
        "kind": kind,
        "version": version,
        "models": None if isinstance(listed, Failed) else [m.id for m in known],
        "models_error": listed.why if isinstance(listed, Failed) else None,
        "max_model_len": (chosen.max_model_len if chosen else None) or _told_length(kind, told, cache),
        "cache": cache or None,
    }
    return [{**entry, **_said(first)}, *(_other(metrics, fetcher) for metrics in others)]


def _other(metrics: Metrics, fetcher: Getter) -> dict[str, Any]:
    kind = metrics.kind or "unknown"
    version = _version(kind, [urls.origin(metrics.url)], fetcher)[0] if metrics.kind else None
    entry = {"url": urls.shown(urls.origin(metrics.url)), "kind": kind, "version": version}
    return {
        **entry,
        "models": None,
        "models_error": None,
        "max_model_len": None,
        "cache": metrics.cache or None,
        **_said(metrics),
    }


def _said(metrics: Metrics) -> dict[str, str]:
    return {"metrics": metrics.state, "metrics_url": urls.shown(metrics.url)}


def _kind(known: Sequence[Model], host: str, fetcher: Getter) -> str:
    """The kind where metrics do not tell it: by who owns the first model, else by a page that only one kind has."""
    owner = (known[0].owner or "").lower() if known else ""
    if owner in _OWNERS:
        return _OWNERS[owner]
    for kind in ("ollama", "llama.cpp", "tgi"):
        if _version(kind, [urls.base(host)], fetcher)[0]:
            return kind
    return "unknown"


def _version(kind: str, roots: Sequence[str], fetcher: Getter) -> tuple[str | None, dict[str, Any]]:
    path, key = _VERSIONS.get(kind, _USUAL_VERSION)
    for root in roots:
        told = json_object(fetcher.get(root + path)) or {}
        if isinstance(told.get(key), str):
            return told[key][:80], told
    return None, {}


def _told_cache(kind: str, told: dict[str, Any]) -> dict[str, int]:
    """llama.cpp: how many slots, that is, how many requests at once."""
    slots = _count(told.get("total_slots")) if kind == "llama.cpp" else None
    return {"slots": slots} if slots else {}


def _told_length(kind: str, told: dict[str, Any], cache: dict[str, Any]) -> int | None:
    if kind == "llama.cpp":
        settings = told.get("default_generation_settings")
        return _count(settings.get("n_ctx")) if isinstance(settings, dict) else None
    if kind == "tgi":
        return _count(told.get("max_total_tokens"))
    return _count(cache.get("max_model_len"))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
