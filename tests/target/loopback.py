"""A small HTTP server on the loopback address, for tests that need a real socket."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Loopback:
    """`pages` maps a path to (status, body) or to a function of the request handler."""

    def __init__(self, pages, tls=None):
        self.pages = pages
        self.requests = []
        """(method, path, headers) of every request"""
        self.posted = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.answer(self)

            def do_POST(self):
                server.posted.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                server.answer(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"

    def answer(self, handler):
        self.requests.append((handler.command, handler.path, dict(handler.headers)))
        page = self.pages.get(handler.path.partition("?")[0], (404, b"Not Found\n"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if callable(page):
                page(handler)
            else:
                send(handler, *page)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def send(handler, status, body, headers=()):
    handler.send_response(status)
    for name, value in headers:
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
