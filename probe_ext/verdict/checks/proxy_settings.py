"""Which setting makes servers, proxies and gateways pass bytes on at once."""

from collections.abc import Sequence

_SETTINGS = {
    "nginx": "nginx: `proxy_buffering off;`, or let the server send `X-Accel-Buffering: no`",
    "haproxy": "HAProxy: `option http-no-delay`",
    "caddy": "Caddy: `flush_interval -1` in `reverse_proxy`",
    "apache": "Apache: `flushpackets=on` in `ProxyPass`",
    "traefik": "Traefik: no `buffering` middleware",
    "envoy": "Envoy: no buffer filter or compressor on this route",
    "kong": "Kong: `response_buffering` off for the route, and no plugin that reads response bodies",
    "varnish": "Varnish: `set beresp.do_stream = true`",
    "litellm": "LiteLLM: no guardrail or callback that collects the stream",
    "cloudflare": "Cloudflare: no transformation or compression of this path",
    "cloudfront": "CloudFront: no compression of this path",
    "azure api management": 'Azure API Management: `buffer-response="false"` in `forward-request`',
    "microsoft-iis": "IIS: `responseBufferLimit` 0 in the proxy settings",
    "openresty": "OpenResty: `proxy_buffering off;`, and no body filter that collects",
    "lighttpd": "lighttpd: `server.stream-response-body = 2`",
    "apisix": "APISIX: the `proxy-buffering` plugin with `disable_proxy_buffering`",
}
_COMMON = ("nginx", "haproxy", "caddy")
SERVER_SETTINGS = (
    "A tool-call or reasoning parser, or an interval of several tokens per event, holds them back: vLLM's "
    "`--stream-interval` 1, another `--tool-call-parser`, or answers without tools. A gateway that rewrites events may "
    "do it too."
)
_SERVERS = (
    *("uvicorn", "hypercorn", "gunicorn", "granian", "daphne", "werkzeug", "aiohttp"),
    *("vllm", "sglang", "llama.cpp", "cpp-httplib", "ollama"),
)
"""What servers of models name themselves, or the library that answers for them."""
_SERVER_ITSELF = (
    "The server itself may pass on several tokens at once: because the process that answers gets too little CPU, as "
    "with a model or a load generator on the same CPU, or by a setting (vLLM's `--stream-interval 1` undoes it). Or "
    "something that does not name itself stands between: if there are no bursts at the server's own address, it makes "
    "them (settings: docs/gateways.md)."
)
DOCUMENT_ADVICE = (
    "The server, or a gateway in front of it, ignores `stream: true`: look for its streaming setting. If users get "
    "whole answers as well, request them so: --no-stream."
)
ONE_EVENT_ADVICE = (
    "The server, or a gateway in front of it, writes the answer first and streams it afterwards: look for guardrails, "
    "plugins or a “fake stream” setting there."
)


def known_proxies(software: Sequence[str]) -> list[str]:
    """Return those of the named software that are proxies with a known setting."""
    return [name for name in software if any(key in name.lower() for key in _SETTINGS)]


def _only_servers(software: Sequence[str]) -> bool:
    """Tell whether nothing is named but servers of models, so that nothing points at a proxy."""
    return all(any(key in name.lower() for key in _SERVERS) for name in software)


def proxy_advice(software: Sequence[str]) -> str:
    """Return the settings for the named proxies; of an unknown one, those of the most common; of none, none."""
    names = [name.lower() for name in known_proxies(software)]
    settings = [setting for key, setting in _SETTINGS.items() if any(key in name for name in names)]
    if settings:
        return f"Replies name {', '.join(software)}. Switch buffering off: {'; '.join(settings)}."
    named = f"Replies name only {', '.join(software)}." if software else "Replies name no proxy."
    if _only_servers(software):
        return f"{named} {_SERVER_ITSELF}"
    common = "; ".join(_SETTINGS[key] for key in _COMMON)
    return (
        f"{named} Find out what stands between this machine and the server, and switch its buffering off: {common}. "
        "Compression in a gateway holds bytes back as well. Or measure behind it."
    )
