"""TLS between memory buffers, so that the socket below is still read with receive times."""

import ssl

from probe_ext.client.address import Target


def context(*, verify: bool) -> ssl.SSLContext:
    """Check certificate and server name, unless told not to. Reads the system's authorities: make it once."""
    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


_RECORD = 2**14
"""bytes: no record of TLS holds more"""


class TlsSession:
    """One connection's ciphers: bytes from the wire in, bytes for the wire out."""

    def __init__(self, settings: ssl.SSLContext, target: Target) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.ended = False
        """the server has said, or the connection's end has shown, that no more will come"""
        self._tls = settings.wrap_bio(self._incoming, self._outgoing, server_hostname=target.host)

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is done. ssl.SSLError when it fails."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def to_wire(self) -> bytes:
        """What must be sent now."""
        return self._outgoing.read()

    def encrypt(self, plain: bytes) -> bytes:
        """The records that carry these bytes."""
        self._tls.write(plain)
        return self._outgoing.read()

    def take(self, wire: bytes) -> None:
        """Bytes from the wire; none mean that the connection ended."""
        if wire:
            self._incoming.write(wire)
        else:
            self._incoming.write_eof()

    def decrypt(self, wire: bytes) -> bytes:
        """The plain bytes that these complete; empty wire bytes mean the end. ssl.SSLError on bad records."""
        self.take(wire)
        plain: list[bytes] = []
        while True:
            try:
                part = self._tls.read(_RECORD)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                part = b""
            if not part:
                self.ended = True
                break
            plain.append(part)
            if not self._incoming.pending and not self._tls.pending():
                break  # asking for more would raise, which costs more than reading did
        return b"".join(plain)
