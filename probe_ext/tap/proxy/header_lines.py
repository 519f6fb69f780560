"""Which headers a proxy passes on: all but those that belong to one connection (RFC 9110, section 7.6.1)."""

from collections.abc import Iterable

from multidict import CIMultiDict

_HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te"),
        *(b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
_OWN_OF_REQUEST = frozenset({b"host", b"expect"})
_LENGTH = frozenset({b"content-length"})
_NONE: frozenset[bytes] = frozenset()

RawHeaders = Iterable[tuple[bytes, bytes]]


def request_headers(raw: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Return what goes to the server: its own `Host` is added, and the client's `Expect` was answered here."""
    return _passed_on(raw, _OWN_OF_REQUEST)


def response_headers(raw: RawHeaders, *, chunked: bool) -> CIMultiDict[str]:
    """Return what goes back to the client. `chunked`: the body has no length, whatever its head says."""
    passed = _passed_on(raw, _LENGTH if chunked else _NONE)
    return CIMultiDict((_decoded(name), _decoded(value)) for name, value in passed)


def _passed_on(raw: RawHeaders, left_out: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    lines = [(name.lower(), (name, value)) for name, value in raw]
    dropped = _HOP_BY_HOP | left_out
    for lower, (_, value) in lines:
        if lower == b"connection":
            dropped |= {token.strip().lower() for token in value.split(b",")}
    return [line for lower, line in lines if lower not in dropped]


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
