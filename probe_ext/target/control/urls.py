"""URLs of a server's control pages, derived from `--host`. No network access."""

from collections.abc import Iterable, Sequence
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

_SHOWN_QUERY_KEYS = frozenset({"model"})


def base(host: str) -> str:
    """Return `--host` without trailing slash, `/v1`, query or fragment: the prefix of `/v1/models`."""
    parts = _parts(host.strip())
    path = parts.path.rstrip("/").removesuffix("/v1")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def origin(url: str) -> str:
    """Return `scheme://host:port`, including credentials."""
    parts = _parts(url)
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))


def _parts(url: str) -> SplitResult:
    """Split a URL; all parts are empty if it is invalid, which the request then reports."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def same_place(url: str, other: str) -> bool:
    """Return whether a key for `url` may be sent to `other`: same host and port, never from https to http.

    ValueError if one of them is not a URL.
    """
    first, second = urlsplit(url), urlsplit(other)
    if (first.scheme, first.hostname, _port(url)) == (second.scheme, second.hostname, _port(other)):
        return True
    upgrade = (first.scheme, second.scheme, _port(url), _port(other)) == ("http", "https", 80, 443)
    return upgrade and first.hostname == second.hostname


def _port(url: str) -> int | None:
    parts = urlsplit(url)
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def urls_by_host(urls: Iterable[str], hosts: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """Return which URLs of metrics belong to each of several hosts, and which to none.

    A URL belongs to the host at its own port, or without one, to all hosts on its machine. ValueError if it is invalid.
    """
    found: list[list[str]] = [[] for _ in hosts]
    of_none = []
    for url in urls:
        own = [place for place, host in enumerate(hosts) if same_place(host, url)]
        near = [place for place, host in enumerate(hosts) if urlsplit(host).hostname == urlsplit(url).hostname]
        for place in own or near:
            found[place].append(url)
        if not (own or near):
            of_none.append(url)
    return found, of_none


def shown(url: str) -> str:
    """Return the URL without user, password and query values (except the model's name), for logs and files."""
    parts = _parts(url)
    query = [(k, v if k in _SHOWN_QUERY_KEYS else "hidden") for k, v in parse_qsl(parts.query, keep_blank_values=True)]
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, parts.path, urlencode(query, safe="/:"), ""))


def split_gpus(url: str) -> tuple[str, frozenset[str] | None]:
    """Split `URL#0+1` into a GPU exporter's URL and the GPUs that belong to the server; None: all on its page."""
    page, _, listed = url.partition("#")
    return page, frozenset(name.strip() for name in listed.split("+") if name.strip()) or None


def shown_gpus(url: str) -> str:
    """Return a GPU exporter's URL without credentials, but with the GPUs that it selects."""
    page, gpus = split_gpus(url)
    return shown(page) + ("#" + "+".join(sorted(gpus)) if gpus else "")


def roots(host: str) -> list[str]:
    """Return where pages outside `/v1` may be: below the path prefix of `host`, and at its origin."""
    return list(dict.fromkeys([base(host), origin(host)]))


def metrics_candidates(host: str) -> list[str]:
    """Return possible metrics URLs, likeliest first: of vLLM and most others, TensorRT-LLM, NIM."""
    common = [f"{root}/metrics" for root in reversed(roots(host))]
    return [*common, f"{base(host)}/prometheus/metrics", f"{base(host)}/v1/metrics"]
