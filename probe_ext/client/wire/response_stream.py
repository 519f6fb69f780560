"""One response while it arrives: what was read and when, until the connection ends or the reader stops.

While a reply streams, no greenlet runs per token: the reactor's thread reads the socket and notes the receive time. The
user's greenlet sleeps until the reply may be over, a deadline passes or a few hundred reads are waiting.
"""

import socket
from collections.abc import Callable

from probe_ext.client.wire import kernel_receive
from probe_ext.client.wire.kernel_receive import ITEMS_PER_READ, Read, ReadRound, begin_round
from probe_ext.client.wire.socket_reactor import reactor
from probe_ext.client.wire.stream_state import StreamState
from probe_ext.client.wire.tls import TlsSession
from probe_ext.measure import clock

WAKE_ABOVE_READS = 256
"""unparsed reads above which the greenlet is woken: parsing more at once would delay other greenlets"""
MAX_UNPARSED_READS = 4 * WAKE_ABOVE_READS
"""unparsed reads at which reading pauses, so that the kernel slows the server down"""
_EVENT_TAIL_BYTES = 12
"""a read that ends with an event has its closing brace within this many last bytes"""
_LAST_CHUNK = b"0\r\n\r\n"

SocketReader = Callable[[socket.socket, ReadRound], Read]


class ResponseStream(StreamState):
    """Collects the reads of one response."""

    def __init__(self, sock: socket.socket, read: SocketReader, session: TlsSession | None, sent: float) -> None:
        super().__init__()
        self.defer_wakeups = False
        """events follow one another and may wait, until one looks like the last"""
        self._socket, self._read, self._session = sock, read, session
        self._earliest = sent
        self._closed = self._paused = False
        self._reads: kernel_receive.FlatReads = []
        self._reactor = reactor()
        stamped = read is kernel_receive.read_stamped
        with self._reactor.lock:  # no read before `_registration` is set, which `_end` needs
            self._registration = self._reactor.add(sock.fileno(), self._on_readable, self._end, stamped=stamped)

    @property
    def _unparsed(self) -> int:
        return len(self._reads) // ITEMS_PER_READ

    def stop(self) -> bool:
        """Stop reading; return whether anything is unparsed."""
        with self._reactor.lock:
            self._paused = False
            self._registration.stop()
            return self._closed or bool(self._reads)

    def report_unresolved(self, reads: int, unresolved: int) -> None:
        """Report how many of this response's reads carried several tokens, for the reactor's coalescing delay."""
        self._reactor.delay.update(reads, unresolved)

    def drain_socket(self) -> bool:
        """Read what the kernel already holds, since the thread may be waiting; return whether anything is unparsed.

        Bounded, because the server may write faster than we read.
        """
        with self._reactor.lock:
            while not self._closed and self._unparsed <= WAKE_ABOVE_READS and self._on_readable(begin_round()):
                pass
            return self._closed or bool(self._reads)

    def take_arrivals(self) -> kernel_receive.Arrivals:
        """Return what arrived since the last call."""
        self.ended = self._closed  # read first: bytes that arrive meanwhile, and the end, belong to the next call
        reads = self._reads[:]
        del self._reads[: len(reads)]
        if self._paused:
            with self._reactor.lock:
                self._paused = False
                self._registration.resume()
        arrivals = kernel_receive.arrivals(reads, self._earliest)
        self.lags.extend(arrivals.lags)
        self.overdue.extend(arrivals.overdue)
        if arrivals.at:
            self._earliest = self.bytes_at = arrivals.at[-1]
        return arrivals

    def _on_readable(self, read_round: ReadRound) -> bool:
        """Read once; return whether there was something. The hot path: runs in the thread, once per token."""
        try:
            read = self._read(self._socket, read_round)
            ended, failure = not read[0], None
            if self._session is not None:
                read = (self._session.decrypt(read[0]), *read[1:])
                ended, failure = self._session.ended, self._session.failure
        except BlockingIOError:
            return False
        except Exception as error:  # unexpected ones too: they end this reply, not the thread
            self._end(error)
            return True
        self._reads += read
        if ended:
            self._end(failure)
        # Every event but the last ends with a brace, followed only by line ends and framing: such reads can wait.
        tail = read[0][-_EVENT_TAIL_BYTES:]
        unparsed = self._unparsed
        if not self.defer_wakeups or b"}" not in tail or tail.endswith(_LAST_CHUNK) or unparsed > WAKE_ABOVE_READS:
            self._reactor.set_soon(self._wakeup)
        if unparsed >= MAX_UNPARSED_READS and not self._closed:
            self._paused = True
            self._registration.stop()
        return True

    def _end(self, failure: Exception | None) -> None:
        self._registration.stop()
        self.failure = self.failure or failure
        self.ended_at = clock.monotonic()
        self._closed = True
        self._reactor.set_soon(self._wakeup)
