"""The server's base URL, which may have a gateway's path prefix."""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from probe_ext.loopback import is_loopback

_ENDPOINT = re.compile(r"/(?:chat/completions|completions|responses|messages|models|embeddings)$")
_API_PATH = re.compile(rf"/v1(?:{_ENDPOINT.pattern[:-1]})?$")


@dataclass(frozen=True)
class Target:
    """A parsed `--host`."""

    tls: bool
    host: str
    port: int
    prefix: str
    """path before `/v1`, without a trailing slash; often empty"""

    @property
    def authority(self) -> str:
        """The `Host` header; the port is omitted if it is the scheme's default."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"

    @property
    def url(self) -> str:
        """Scheme, authority and prefix: the base of all control calls."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}"

    @property
    def is_loopback(self) -> bool:
        """Whether it can only be a server on this machine, or a tunnel that begins here."""
        return is_loopback(self.host)

    def path(self, tail: str) -> str:
        """Return the request target of an API path such as `/v1/models`."""
        return self.prefix + tail


def parse_target(url: str) -> Target:
    """Parse a base URL. A trailing `/v1`, or path of the API below it, is removed: requests add their own.

    ValueError names the option, the value and the reason.
    """
    url = url.strip()
    # Checked first, because later messages repeat the URL.
    if "@" in re.split(r"[/?#]", url.partition("://")[2] or url, maxsplit=1)[0]:
        raise ValueError("--host: must not contain a user name or password; set the API key in the environment instead")
    if any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError(f"--host {url!r}: must not contain spaces or control characters")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as error:
        raise ValueError(f"--host {url}: {error}") from error
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"--host {url}: scheme must be http or https, not {parts.scheme!r}")
    if not parts.hostname:
        raise ValueError(f"--host {url!r}: has no host name")
    if port == 0:
        raise ValueError(f"--host {url}: port must not be 0")
    if parts.query or parts.fragment:
        raise ValueError(f"--host {url}: must not have a query or fragment")
    tls = parts.scheme == "https"
    prefix = _API_PATH.sub("", parts.path.rstrip("/")).rstrip("/")
    if tail := _ENDPOINT.search(prefix):
        base = f"{parts.scheme}://{parts.netloc}{prefix[: tail.start()]}"
        raise ValueError(
            f"--host {url}: is an endpoint; give the base URL, to which requests add /v1{tail[0]} (--host {base}?)"
        )
    return Target(tls, parts.hostname, port or (443 if tls else 80), quote(prefix, safe="/%:@!$&'()*+,;=~"))
