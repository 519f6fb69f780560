"""The little of ZeroMQ's wire protocol (ZMTP 3.0, mechanism NULL) that a master needs to talk to workers.

Nothing here does I/O: `read` returns exactly as many bytes as asked for, or raises. Commands after the handshake and
messages of several frames are not needed: Locust's workers send neither.
Source: https://rfc.zeromq.org/spec/23/
"""

from collections.abc import Callable

Read = Callable[[int], bytes]

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_SIGNATURE_BYTES, _MAJOR = 10, 10  # where the greeting's version is
_MORE, _LONG, _COMMAND = 1, 2, 4
_MAX_READY_BYTES = 2048
_MAX_NAME_BYTES = 255
_SKIP_BYTES = 64 * 1024


class ProtocolError(Exception):
    """The peer does not speak this protocol."""


def ready() -> bytes:
    """Return the command that ends our part of the handshake."""
    kind = b"ROUTER"
    body = b"\x05READY" + b"\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    return bytes((_COMMAND, len(body))) + body


def read_name(read: Read) -> str:
    """Read the peer's part of the handshake; return the name that it gives itself."""
    start = read(_SIGNATURE_BYTES)
    if start[0] != GREETING[0] or start[-1] != GREETING[_SIGNATURE_BYTES - 1]:
        raise ProtocolError("no ZMTP signature")
    rest = read(len(GREETING) - _SIGNATURE_BYTES)
    if rest[0] < GREETING[_MAJOR] or rest[2:22] != GREETING[12:32]:
        raise ProtocolError("another version or mechanism")
    flags, size = _read_header(read)
    if not flags & _COMMAND or size > _MAX_READY_BYTES:
        raise ProtocolError("no READY command")
    name = _properties(read(size)).get(b"identity", b"")
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise ProtocolError("a name that is not UTF-8") from None
    if not 0 < len(name) <= _MAX_NAME_BYTES:
        raise ProtocolError("no name")
    return text


def _properties(body: bytes) -> dict[bytes, bytes]:
    """Return the properties of a READY command, by lower-case name."""
    if not body.startswith(b"\x05READY"):
        raise ProtocolError("no READY command")
    found, at = {}, 6
    while at < len(body):
        name_end = at + 1 + body[at]
        value_start = name_end + 4
        value_end = value_start + int.from_bytes(body[name_end:value_start], "big")
        if value_start > len(body) or value_end > len(body):
            raise ProtocolError("damaged READY command")
        found[body[at + 1 : name_end].lower()] = body[value_start:value_end]
        at = value_end
    return found


def _read_header(read: Read) -> tuple[int, int]:
    flags = read(1)[0]
    if flags & ~(_MORE | _LONG | _COMMAND):
        raise ProtocolError("unknown flags")
    return flags, int.from_bytes(read(8 if flags & _LONG else 1), "big")


def read_message(read: Read, kept: Callable[[], int], limit: int) -> bytes | None:
    """Read the next message. None: it is larger than `kept()` bytes, and was not kept.

    ProtocolError: it is larger than `limit` bytes, or is made of several frames, of which there is no end.
    """
    while True:
        flags, size = _read_header(read)
        if size > limit or flags & _MORE:
            raise ProtocolError("a message that is too large or has several parts")
        if size <= kept():
            content = read(size)
            if not flags & _COMMAND:
                return content
            continue
        while size > 0:
            size -= len(read(min(size, _SKIP_BYTES)))
        if not flags & _COMMAND:
            return None


def framed(message: bytes) -> bytes:
    """Return the bytes to send for a message."""
    size = len(message)
    header = bytes((0, size)) if size < 256 else bytes((_LONG,)) + size.to_bytes(8, "big")
    return header + message
