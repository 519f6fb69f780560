"""A Prometheus that scrapes the server under test: its URL, label matchers and credentials.

Credentials come from the environment only. URLs that contain some are rejected, so that they never reach a process
list, a manifest or a page.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from probe_ext.settings.errors import SettingsError

AUTH_VARIABLE = "PROBE_PROMETHEUS_AUTH"
"""the whole `Authorization` header: `Bearer TOKEN` or `Basic BASE64`"""

_MATCHER = r'[a-zA-Z_][a-zA-Z0-9_]*\s*(?:=~|!~|!=|=)\s*"(?:[^"\\\n]|\\.)*"'
_MATCHERS = re.compile(rf"\s*{_MATCHER}\s*(?:,\s*{_MATCHER}\s*)*,?\s*")
_AUTHORIZATION = re.compile(r"[A-Za-z][A-Za-z0-9_-]* \S.*")


@dataclass(frozen=True)
class PrometheusSource:
    """A Prometheus and the series to query from it."""

    url: str
    match: str = ""
    """label matchers without the selector's braces; empty for all series"""
    authorization: str | None = field(default=None, repr=False)


def prometheus_url(text: str) -> str | None:
    """Read a base URL, which may have a path prefix. ValueError for anything else."""
    text = text.strip().rstrip("/")
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http(s) URL")
    if "@" in parts.netloc:
        raise ValueError(f"must not contain credentials: set {AUTH_VARIABLE} instead")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or fragment")
    return text


def matchers(text: str) -> str:
    """Read label matchers, with or without braces. ValueError for anything else."""
    text = text.strip()
    inner = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    if inner.strip() and not _MATCHERS.fullmatch(inner):
        raise ValueError('not valid label matchers (e.g. job="vllm",instance=~"gpu.*")')
    return inner.strip().rstrip(",")


def prometheus_source(url: str | None, match: str | None, environment: Mapping[str, str]) -> PrometheusSource | None:
    """Return the source, None without a URL. SettingsError if the authorization in the environment is invalid."""
    if url is None:
        return None
    authorization = environment.get(AUTH_VARIABLE, "").strip() or None
    if authorization and not (_AUTHORIZATION.fullmatch(authorization) and authorization.isascii()):
        raise SettingsError(f"{AUTH_VARIABLE}: must be a complete Authorization value: Bearer TOKEN or Basic BASE64")
    return PrometheusSource(url, match or "", authorization)
