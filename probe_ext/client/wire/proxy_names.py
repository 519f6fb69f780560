"""Which software answered, by the head of the response: the server, and proxies and gateways that name themselves."""

import re
from collections.abc import Mapping

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
    names = [*_passed_through(headers), *filter(None, [headers.get("server", "").strip()])]
    different = [name for n, name in enumerate(names) if not any(_alike(name, other) for other in names[:n])]
    return ", ".join(different)[:_MAX_LENGTH] or None


def _passed_through(headers: Mapping[str, str]) -> list[str]:
    via = [match[1] for part in headers.get("via", "").split(",") if (match := _VIA.match(part))]
    return via + [name for start, name in _BY_HEADER.items() if any(header.startswith(start) for header in headers)]


def _alike(name: str, other: str) -> bool:
    return name.lower().split("/")[0] == other.lower().split("/")[0]
