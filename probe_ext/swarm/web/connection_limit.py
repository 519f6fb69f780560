"""Limit the web UI's connections: whoever reaches its port must not take the file descriptors that the run needs."""

from typing import Any

import gevent
from gevent import pywsgi

from probe_ext.swarm.link.peer_networks import first_of_busiest, network_of

MAX_CONNECTIONS = 200  # a browser has six at most
IDLE_TIMEOUT_S = 60.0

_open: "dict[LimitedHandler, None]" = {}
"""oldest first"""


class LimitedHandler(pywsgi.WSGIHandler):
    """Handles one connection, until too many others come or it says nothing. Those with a request in work end last."""

    def __init__(self, sock: Any, address: Any, *more: Any) -> None:
        sock.settimeout(IDLE_TIMEOUT_S)
        self.network = network_of(str(address[0]) if address else None)
        self._greenlet = gevent.getcurrent()
        self.is_working = False
        super().__init__(sock, address, *more)

    def handle(self) -> None:
        """Handle the connection's requests."""
        _open[self] = None
        if len(_open) > MAX_CONNECTIONS:
            first_of_busiest(sorted(_open, key=lambda handler: handler.is_working)).end()
        try:
            super().handle()
        finally:
            _open.pop(self, None)

    def handle_one_response(self) -> None:
        """Answer a request that has been read."""
        self.is_working = True
        try:
            super().handle_one_response()
        finally:
            self.is_working = False

    def end(self) -> None:
        """End the connection before it takes what it has read so far for a request."""
        _open.pop(self, None)
        gevent.kill(self._greenlet)


def limit_connections() -> None:
    """Have every web UI of this process limit its connections."""
    pywsgi.WSGIServer.handler_class = LimitedHandler
