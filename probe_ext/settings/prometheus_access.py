"""Where a Prometheus is that scrapes the server under test, which of its series are meant, and how it lets us in.

Credentials come from the environment alone: an address that carries some is refused, so that they reach no process
list, no manifest and no page.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from probe_ext.settings.errors import SettingsError

AUTH_VARIABLE = "PROBE_PROMETHEUS_AUTH"
"""the whole `Authorization` header: `Bearer TOKEN` or `Basic BASE64`"""
AUTHORITIES_VARIABLE = "REQUESTS_CA_BUNDLE"
"""a file of certificate authorities of one's own, by the name that `requests` gave it"""

_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*\s*(?:=~|!~|!=|=)\s*"(?:[^"\\\n]|\\.)*"'
_MATCHERS = re.compile(rf"\s*{_LABEL}\s*(?:,\s*{_LABEL}\s*)*,?\s*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9_-]* \S.*")


@dataclass(frozen=True)
class PrometheusSource:
    """One Prometheus, as the user named it."""

    url: str
    match: str = ""
    """label matchers as they stand between a selector's braces; empty for all series"""
    authorization: str | None = field(default=None, repr=False)


def prometheus_url(text: str) -> str | None:
    """The base address, a path prefix included. ValueError when it is none, or carries more than an address."""
    text = text.strip().rstrip("/")
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no http(s) URL")
    if "@" in parts.netloc:
        raise ValueError(f"carries a user or password: put them into {AUTH_VARIABLE}")
    if parts.query or parts.fragment:
        raise ValueError("is to end before ? and #")
    return text


def matchers(text: str) -> str:
    """Label matchers, braces taken off. ValueError when they are none."""
    text = text.strip()
    inner = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    if inner.strip() and not _MATCHERS.fullmatch(inner):
        raise ValueError('are no matchers like job="vllm",instance=~"gpu.*"')
    return inner.strip().rstrip(",")


def prometheus_source(url: str | None, match: str | None, environment: Mapping[str, str]) -> PrometheusSource | None:
    """What to ask; None without an address. SettingsError where the environment's header can be none."""
    if url is None:
        return None
    authorization = environment.get(AUTH_VARIABLE, "").strip() or None
    if authorization and not (_SCHEME.fullmatch(authorization) and authorization.isascii()):
        raise SettingsError(f"{AUTH_VARIABLE}: is to be a whole header: Bearer TOKEN, or Basic BASE64")
    return PrometheusSource(url, match or "", authorization)
