"""Identify the server: kind, version, models, context length and cache, for `run.json`'s `server` list.

Every page may be missing, since none is needed for the load. Only named fields are used: SGLang's `/get_server_info`
contains the whole command line including secrets, which must not leave this module.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from probe_ext.measure.safe_text import safe_text
from probe_ext.target.control import urls
from probe_ext.target.control.call_result import Answer, Failed, json_object
from probe_ext.target.metrics.cache_config import CONFIG_METRICS, cache_configuration
from probe_ext.target.metrics.catalogue import METRIC_NAMES, NO_KNOWN_ENGINE, read
from probe_ext.target.metrics.metrics_text import Unreadable, parse
from probe_ext.target.model_choice import can_chat

OK = "ok"
OFF = "off"
"""Metrics that were not asked for."""
_HTML = re.compile(rb"\s*<(?:!doctype html|html|head|body)\b", re.IGNORECASE)

_MAX_VERSION_LENGTH = 80
_MAX_NAME_LENGTH = 300
_MAX_LISTED_MODELS = 100  # kept of the list; a gateway may have thousands

_KIND_BY_OWNER = {
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llama.cpp",
    "library": "ollama",
    "organization_owner": "lm-studio",
    "lmdeploy": "lmdeploy",
    "nvidia": "nim",
    "tensorrt_llm": "tensorrt-llm",
}
_VERSION_PAGES = {  # kind: (path, key)
    "sglang": ("/get_server_info", "version"),
    "llama.cpp": ("/props", "build_info"),
    "tgi": ("/info", "version"),
    "ollama": ("/api/version", "version"),
}
_DEFAULT_VERSION_PAGE = ("/version", "version")


class Getter(Protocol):
    """The part of `Fetcher` that is used here."""

    def get(self, url: str, timeout: float | None = None) -> Answer | Failed:
        """Send a GET."""


@dataclass(frozen=True, slots=True)
class Model:
    """An entry of `/v1/models`."""

    id: str
    max_model_len: int | None
    owner: str | None
    can_chat: bool = True


@dataclass(frozen=True, slots=True)
class Metrics:
    """The result of one metrics URL."""

    url: str
    state: str
    """`ok`, or why there are no metrics"""
    kind: str | None = None
    cache: dict[str, Any] | None = None


def models(host: str, fetcher: Getter) -> tuple[Model, ...] | Failed:
    """Return the models that the server lists; Failed says why there is no list."""
    answer = fetcher.get(f"{urls.base(host)}/v1/models")
    if isinstance(answer, Failed):
        return answer
    listed = (json_object(answer) or {}).get("data")
    if not isinstance(listed, list):
        what = "an HTML page instead of" if _HTML.match(answer.body) else "not"
        return Failed(f"/v1/models: {what} a list of models", body=answer.body)
    usable = tuple(_model(entry) for entry in listed if isinstance(entry, dict) and _is_name(entry.get("id")))
    if listed and not usable:
        return Failed(f"/v1/models: no model has a name of 1 to {_MAX_NAME_LENGTH} printable characters")
    return usable


def _is_name(value: object) -> bool:
    """Whether a value can be a model's name: it is shown in terminals and reports, and sent with every request."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME_LENGTH and value.isprintable()


def _model(entry: dict[str, Any]) -> Model:
    owner = entry.get("owned_by")
    known_owner = owner if isinstance(owner, str) else None
    return Model(entry["id"], _count(entry.get("max_model_len")), known_owner, can_chat(entry))


def find_metrics(
    host: str, fetcher: Getter, metrics_urls: Sequence[str] = (), model: str | None = None
) -> tuple[Metrics, ...]:
    """Return the result of each given URL; without any, of the URL that works for the host, or of the likeliest one."""
    if metrics_urls:
        return tuple(_metrics(url, fetcher, model) for url in metrics_urls)
    tried: list[Metrics] = []
    for url in dict.fromkeys(urls.metrics_candidates(host)):
        tried.append(_metrics(url, fetcher, model))
        if tried[-1].state == OK:
            return (tried[-1],)
        if tried[-1].state in ("timed out", "connection refused", "unknown host name"):
            break
    return (next((metrics for metrics in tried if metrics.state != "404"), tried[0]),)


def _metrics(url: str, fetcher: Getter, model: str | None) -> Metrics:
    answer = fetcher.get(url)
    if isinstance(answer, Failed):
        return Metrics(url, answer.why)
    page = parse(answer.body, METRIC_NAMES | CONFIG_METRICS)
    if isinstance(page, Unreadable):
        return Metrics(url, page.why)
    reading = read(page, model)
    if reading is None:
        return Metrics(url, NO_KNOWN_ENGINE)
    return Metrics(url, OK, reading.kind, cache_configuration(page))


def identify(
    host: str,
    fetcher: Getter,
    metrics_urls: Sequence[str] = (),
    model: str | None = None,
    words: Callable[[bytes], str] = lambda _: "",
    *,
    with_metrics: bool = True,
) -> list[dict[str, Any]]:
    """Return the entries of `run.json`'s `server` list: the target, then each further metrics URL.

    Keys: `url, kind, version, models, max_model_len, cache, metrics`; `models_error`: why `models` is None;
    `default_model`: the first that looks like a chat model; `metrics_url`: as in `server.csv`, without credentials.
    `max_model_len` is that of `model`, else of the default model. `words` finds what a server says in an error's body.
    Unknown values are None, an unknown kind is `unknown`. Without `with_metrics`, no metrics page is asked for.
    """
    listed = models(host, fetcher)
    first, *others = find_metrics(host, fetcher, metrics_urls, model) if with_metrics else (Metrics("", OFF),)
    known = () if isinstance(listed, Failed) else listed
    kind = first.kind or _kind(known, host, fetcher)
    default = next((m for m in known if m.can_chat), None)
    chosen = next((m for m in known if m.id == model), None) if model else default
    version, page = _version(kind, urls.roots(host), fetcher)
    cache = {**(first.cache or {}), **_slots(kind, page)}
    entry = {
        "url": urls.shown(host),
        "kind": kind,
        "version": version,
        "models": None if isinstance(listed, Failed) else _listed(known, chosen),
        "default_model": default.id if default else None,
        "models_error": _why(listed, words) if isinstance(listed, Failed) else None,
        "max_model_len": (chosen.max_model_len if chosen else None) or _max_length(kind, page, cache),
        "cache": cache or None,
    }
    return [{**entry, **_metrics_entry(first)}, *(_further_entry(metrics, fetcher) for metrics in others)]


def _why(failed: Failed, words: Callable[[bytes], str]) -> str:
    said = words(failed.body)
    return f"{failed.why}: {said}" if said else failed.why


def _listed(known: Sequence[Model], chosen: Model | None) -> list[str]:
    """Return the first models, and the chosen one wherever it is."""
    names = [model.id for model in known[:_MAX_LISTED_MODELS]]
    return names if chosen is None or chosen.id in names else [*names, chosen.id]


def _further_entry(metrics: Metrics, fetcher: Getter) -> dict[str, Any]:
    kind = metrics.kind or "unknown"
    version = _version(kind, [urls.origin(metrics.url)], fetcher)[0] if metrics.kind else None
    entry = {"url": urls.shown(urls.origin(metrics.url)), "kind": kind, "version": version}
    return {
        **entry,
        "models": None,
        "default_model": None,
        "models_error": None,
        "max_model_len": None,
        "cache": metrics.cache or None,
        **_metrics_entry(metrics),
    }


def _metrics_entry(metrics: Metrics) -> dict[str, str | None]:
    return {"metrics": metrics.state, "metrics_url": urls.shown(metrics.url) if metrics.url else None}


def _kind(known: Sequence[Model], host: str, fetcher: Getter) -> str:
    """Return the kind without metrics: by the first model's owner, else by a page that only one kind has."""
    owner = (known[0].owner or "").lower() if known else ""
    if owner in _KIND_BY_OWNER:
        return _KIND_BY_OWNER[owner]
    for kind in ("ollama", "llama.cpp", "tgi"):
        if _version(kind, [urls.base(host)], fetcher)[0]:
            return kind
    return "unknown"


def _version(kind: str, roots: Sequence[str], fetcher: Getter) -> tuple[str | None, dict[str, Any]]:
    path, key = _VERSION_PAGES.get(kind, _DEFAULT_VERSION_PAGE)
    for root in roots:
        page = json_object(fetcher.get(root + path)) or {}
        if isinstance(page.get(key), str):
            return safe_text(page[key], length=_MAX_VERSION_LENGTH), page
    return None, {}


def _slots(kind: str, page: dict[str, Any]) -> dict[str, int]:
    """Return llama.cpp's slots, its maximum number of concurrent requests."""
    slots = _count(page.get("total_slots")) if kind == "llama.cpp" else None
    return {"slots": slots} if slots else {}


def _max_length(kind: str, page: dict[str, Any], cache: dict[str, Any]) -> int | None:
    if kind == "llama.cpp":
        settings = page.get("default_generation_settings")
        return _count(settings.get("n_ctx")) if isinstance(settings, dict) else None
    if kind == "tgi":
        return _count(page.get("max_total_tokens"))
    return _count(cache.get("max_model_len"))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
