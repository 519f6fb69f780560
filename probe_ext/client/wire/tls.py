"""TLS over memory buffers, so that the socket below can still be read with receive times."""

import ssl

from probe_ext.client.wire.address import Target
from probe_ext.client.wire.native.native_extension import capture_tls

_MAX_RECORD_BYTES = 2**14


class TlsSession:
    """The TLS state of one connection: wire bytes in, wire bytes out."""

    def __init__(self, tls_context: ssl.SSLContext, target: Target) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.ended = False
        """no more plaintext will come: close_notify or end of the connection"""
        self.failure: ssl.SSLError | None = None
        """why it ended, if that was an error"""
        self._tls, self.native = capture_tls(
            lambda: tls_context.wrap_bio(self._incoming, self._outgoing, server_hostname=target.host)
        )
        """`native`: by what the C extension reads it; None where it can't"""
        if tls_context.keylog_filename:
            self.native = None  # Python writes the log, also of keys that change later: no thread without it may read

    def handshake(self) -> bool:
        """Continue the handshake; True once it is done. ssl.SSLError if it fails."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def to_wire(self) -> bytes:
        """Return the bytes to send now."""
        return self._outgoing.read()

    def encrypt(self, plain: bytes) -> bytes:
        """Return the records that carry these bytes."""
        self._tls.write(plain)
        return self._outgoing.read()

    def feed(self, wire: bytes) -> None:
        """Add bytes from the wire; empty bytes mean the end of the connection."""
        if wire:
            self._incoming.write(wire)
        else:
            self._incoming.write_eof()

    def decrypt(self, wire: bytes) -> bytes:
        """Feed bytes from the wire and return the plaintext that is complete. Invalid records are a `failure`."""
        self.feed(wire)
        plain: list[bytes] = []
        while True:
            try:
                part = self._tls.read(_MAX_RECORD_BYTES)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                part = b""
            except ssl.SSLError as error:
                part, self.failure = b"", error
            if not part:
                self.ended = True
                break
            plain.append(part)
            if not self._incoming.pending and not self._tls.pending():
                break  # another read would raise SSLWantReadError, which costs more than the read did
        return b"".join(plain)
