"""Where requests go: a server's address, with the path prefix of a gateway if there is one."""

from dataclasses import dataclass
from urllib.parse import urlsplit


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
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"--host {url}: scheme {parts.scheme!r} is neither http nor https")
    if parts.username or parts.password:
        raise ValueError("--host: a user name or password in the URL would reach logs; use the API key variable")
    if not parts.hostname or any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError(f"--host {url!r}: no host name in it")
    if parts.query or parts.fragment:
        raise ValueError(f"--host {url}: a query or fragment has no meaning here")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise ValueError(f"--host {url}: {error}") from error
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    return Target(parts.scheme == "https", parts.hostname, port, prefix)
