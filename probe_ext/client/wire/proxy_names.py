"""Which software answered, by the head of the response: the server, and proxies and gateways that name themselves."""

import re
from collections.abc import Mapping
from functools import lru_cache

_MAX_LENGTH = 100
_BY_HEADER = {
    "x-litellm-": "LiteLLM",
    "x-kong-": "Kong",
    "x-envoy-": "Envoy",
    "cf-ray": "Cloudflare",
    "x-amz-cf-": "CloudFront",
    "x-amzn-": "AWS",
    "x-azure-ref": "Azure Front Door",
    "apim-request-id": "Azure API Management",
    "x-portkey-": "Portkey",
    "x-traefik-": "Traefik",
    "x-vercel-": "Vercel",
    "x-served-by": "Fastly or another cache",
    "x-varnish": "Varnish",
    "fly-request-id": "Fly.io",
    "x-tyk-": "Tyk",
    "x-apisix-": "APISIX",
    "x-helicone-": "Helicone",
    "openrouter-": "OpenRouter",
}
"""names by the beginning of a header that only they send"""
_VIA = re.compile(r"^\s*(?:[A-Za-z]+/)?[0-9.]+\s+([^\s,()]+)")


def named_software(headers: Mapping[str, str]) -> str | None:
    """Return the names in order of their distance, the nearest first; None where the head names nothing."""
    return _names(headers.get("via", ""), headers.get("server", ""), tuple(headers))


@lru_cache(maxsize=64)
def _names(via: str, server: str, headers: tuple[str, ...]) -> str | None:
    """Return the same for the names of all headers; those of one server rarely differ from reply to reply."""
    names = [match[1] for part in via.split(",") if (match := _VIA.match(part))]
    names += [name for start, name in _BY_HEADER.items() if any(header.startswith(start) for header in headers)]
    names += filter(None, [server.strip()])
    different = [name for n, name in enumerate(names) if not any(_alike(name, other) for other in names[:n])]
    return ", ".join(different)[:_MAX_LENGTH] or None


def _alike(name: str, other: str) -> bool:
    return name.lower().split("/")[0] == other.lower().split("/")[0]
