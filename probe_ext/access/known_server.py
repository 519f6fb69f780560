"""Identify the server under test with the options in force: engine, version, models, metrics."""

from dataclasses import dataclass
from typing import Any

from probe_ext.client.api.server_errors import page_title
from probe_ext.client.body_form import error_in_body
from probe_ext.client.wire.address import Target, parse_target
from probe_ext.measure.safe_text import Secrets, safe_text
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.settings.request_extras import header_pairs
from probe_ext.settings.secrets import api_key, secret_headers
from probe_ext.target.control.fetch import Fetcher
from probe_ext.target.server_identity import OK, Getter, identify

_OBEYS_IGNORE_EOS = {"vllm", "sglang", "llama.cpp"}


@dataclass(frozen=True)
class KnownServer:
    """What a server says about itself; None: it does not say."""

    target: Target
    entries: tuple[dict[str, Any], ...]
    """as in `run.json`'s `server` list: the server, then each further metrics URL"""
    model: str | None
    """the model that requests name: --model, or the first listed one that can chat"""
    metrics_urls: tuple[str, ...]
    """what is polled: the given URLs unchanged, or the one that was found"""

    @property
    def url(self) -> str:
        """Scheme, authority and path prefix."""
        return self.target.url

    @property
    def kind(self) -> str:
        """Engine: `vllm`, `sglang`, `llama.cpp`, …, or `unknown`."""
        return str(self.entries[0]["kind"])

    @property
    def version(self) -> str | None:
        """Version of the engine."""
        version: str | None = self.entries[0]["version"]
        return version

    @property
    def models(self) -> tuple[str, ...] | None:
        """Names of the models that it lists."""
        listed = self.entries[0]["models"]
        return None if listed is None else tuple(listed)

    @property
    def models_error(self) -> str | None:
        """Why there is no list of models."""
        why: str | None = self.entries[0]["models_error"]
        return why

    @property
    def max_model_len(self) -> int | None:
        """Context length in tokens."""
        length: int | None = self.entries[0]["max_model_len"]
        return length

    @property
    def cache(self) -> dict[str, Any]:
        """Configuration of the KV cache (`target.metrics.cache_config`); empty if the server does not say."""
        return self.entries[0]["cache"] or {}

    @property
    def exact_length(self) -> dict[str, Any]:
        """Body fields that make a reply exactly as long as `max_tokens`; empty where servers may refuse them."""
        return {"ignore_eos": True} if self.kind in _OBEYS_IGNORE_EOS else {}

    @property
    def metrics_error(self) -> str | None:
        """Why there are no metrics; None if there are."""
        state = str(self.entries[0]["metrics"])
        return None if state == OK else state


def target_and_key(host: str | None) -> tuple[Target, str | None]:
    """Return the parsed --host and the API key of the environment. SettingsError if either is missing or invalid."""
    if not host:
        raise SettingsError("--host: missing (e.g. --host http://127.0.0.1:8000)")
    try:
        return parse_target(host), api_key()
    except ValueError as error:
        raise SettingsError(str(error)) from error


def fetcher_for(target: Target, key: str | None, options: Options, *, with_headers: bool = True) -> Fetcher:
    """Return a fetcher for control requests to a server, which gives up on one that does not answer.

    SettingsError if a file of the TLS options cannot be used, or a variable of --header-env is missing.
    """
    try:
        headers = {**header_pairs(options.header), **secret_headers(options.header_env)} if with_headers else {}
        return Fetcher(
            key,
            home=target.url,
            tls=options.tls,
            timeout=options.timeout_connect,
            headers=headers,
            give_up=True,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from error


def know_server(target: Target, fetcher: Getter, options: Options) -> KnownServer:
    """Ask a server what it is. Never raises for a server that does not answer: see `models_error`."""
    secrets = tuple(filter(None, (api_key(), *secret_headers(options.header_env).values())))
    entries = identify(
        target.url,
        fetcher,
        options.metrics_url,
        options.model,
        lambda body: _words(body, secrets),
        with_metrics=not options.no_metrics,
    )
    found = tuple(entry["metrics_url"] for entry in entries if entry.get("metrics_url"))
    return KnownServer(
        target=target,
        entries=tuple(entries),
        model=options.model or entries[0]["default_model"],
        # given URLs are polled unchanged; those from `identify` have no secrets
        metrics_urls=() if options.no_metrics else options.metrics_url or found,
    )


def _words(body: bytes, secrets: Secrets) -> str:
    """Return what a server says in the body of an error, in one line."""
    if not body:
        return ""
    error = error_in_body(body, certain=True)
    return safe_text(error.message if error else page_title(body) or "", secrets)
