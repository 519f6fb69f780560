"""Which headers a proxy passes on: all but those that belong to one connection (RFC 9110, section 7.6.1)."""

from collections.abc import Iterable

from multidict import CIMultiDict

_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"),
        *("trailer", "transfer-encoding", "upgrade"),
    }
)
_OWN_OF_REQUEST = frozenset({"host", "expect"})

RawHeaders = Iterable[tuple[bytes, bytes]]


def request_headers(raw: RawHeaders) -> CIMultiDict[str]:
    """Return what goes to the server: its own `Host` is added, and the client's `Expect` was answered here."""
    return _passed_on(raw, _OWN_OF_REQUEST)


def response_headers(raw: RawHeaders) -> CIMultiDict[str]:
    """Return what goes back to the client."""
    return _passed_on(raw, frozenset())


def _passed_on(raw: RawHeaders, left_out: frozenset[str]) -> CIMultiDict[str]:
    lines = [(_decoded(name), _decoded(value)) for name, value in raw]
    named = {
        token.strip().lower() for name, value in lines if name.lower() == "connection" for token in value.split(",")
    }
    dropped = _HOP_BY_HOP | named | left_out
    return CIMultiDict((name, value) for name, value in lines if name.lower() not in dropped)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
