"""Where requests go: a server's address, with the path prefix of a gateway if there is one."""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit


@dataclass(frozen=True)
class Target:
    """A parsed `--host`."""

    tls: bool
    host: str
    port: int
    prefix: str
    """path before `/v1`, without a slash at its end; often empty"""

    @property
    def authority(self) -> str:
        """The `Host` header: the port only where it is not the scheme's own."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"

    @property
    def url(self) -> str:
        """Scheme, authority and prefix: what control calls are built on."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}"

    def path(self, tail: str) -> str:
        """The request target of an API call such as `/v1/models`."""
        return self.prefix + tail


def parse_target(url: str) -> Target:
    """Read a base URL. A `/v1` at its end is taken off: the API's own paths carry it.

    ValueError names the option and what is wrong with the value.
    """
    url = url.strip()
    if "@" in re.split(r"[/?#]", url.partition("://")[2] or url, maxsplit=1)[0]:  # first: later messages show the URL
        raise ValueError("--host: a user name or password in the URL would reach logs; use the API key variable")
    if any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError(f"--host {url!r}: a URL has no spaces or control characters in it")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as error:
        raise ValueError(f"--host {url}: {error}") from error
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"--host {url}: scheme {parts.scheme!r} is neither http nor https")
    if not parts.hostname:
        raise ValueError(f"--host {url!r}: no host name in it")
    if port == 0:
        raise ValueError(f"--host {url}: no server listens on port 0")
    if parts.query or parts.fragment:
        raise ValueError(f"--host {url}: a query or fragment has no meaning here")
    prefix = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    tls = parts.scheme == "https"
    return Target(tls, parts.hostname, port or (443 if tls else 80), quote(prefix, safe="/%:@!$&'()*+,;=~"))
