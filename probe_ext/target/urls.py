"""Where a server's control pages lie, seen from the `--host` that the load goes to. Pure text, no network."""

from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

_SHOWN_QUERY = frozenset({"model"})


def base(host: str) -> str:
    """The address that `/v1/models` is put behind: `--host` without a trailing slash, `/v1`, query or fragment."""
    parts = _parts(host.strip())
    path = parts.path.rstrip("/").removesuffix("/v1")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def origin(url: str) -> str:
    """`scheme://host:port`, credentials left in place."""
    parts = _parts(url)
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))


def _parts(url: str) -> SplitResult:
    """The URL's parts; all empty where it is none, so that the call that follows says so."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def same_place(url: str, other: str) -> bool:
    """Whether a key meant for `url` may go to `other`: same host and port, never from https to http.

    ValueError when one of them is no URL.
    """
    one, two = urlsplit(url), urlsplit(other)
    if (one.scheme, one.hostname, _port(url)) == (two.scheme, two.hostname, _port(other)):
        return True
    upgrade = (one.scheme, two.scheme, _port(url), _port(other)) == ("http", "https", 80, 443)
    return upgrade and one.hostname == two.hostname


def _port(url: str) -> int | None:
    parts = urlsplit(url)
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def shown(url: str) -> str:
    """The URL as it may be written down: no user, no password, no query value but the model's name."""
    parts = _parts(url)
    query = [(k, v if k in _SHOWN_QUERY else "hidden") for k, v in parse_qsl(parts.query, keep_blank_values=True)]
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, parts.path, urlencode(query, safe="/:"), ""))


def roots(host: str) -> list[str]:
    """Where pages outside `/v1` may lie: behind the prefix of `host`, and at its origin."""
    return list(dict.fromkeys([base(host), origin(host)]))


def metrics_places(host: str) -> list[str]:
    """Where metrics may lie, likeliest first: vLLM's and most others', TensorRT-LLM's, NIM's."""
    usual = [f"{root}/metrics" for root in reversed(roots(host))]
    return [*usual, f"{base(host)}/prometheus/metrics", f"{base(host)}/v1/metrics"]
