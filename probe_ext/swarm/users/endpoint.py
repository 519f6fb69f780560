"""The way to the server under test: its address, the key, the limits. Makes connections and requests."""

import os
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext import __version__
from probe_ext.client import tls
from probe_ext.client.address import Target, parse_target
from probe_ext.client.connection import Connection
from probe_ext.client.exchange import Limits
from probe_ext.client.request_form import RequestForm, auth_headers, request_body
from probe_ext.settings.options import KEY_VARIABLE, Options

_contexts: dict[bool, ssl.SSLContext] = {}

Said = str | Sequence[Mapping[str, Any]]
"""a prompt, or the messages of a chat"""


def api_key() -> str | None:
    """From the environment, and from nowhere else. ValueError when it could not stand in a header."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"{KEY_VARIABLE}: holds characters that no HTTP header can carry")
    return key or None


def has_key() -> bool:
    """Whether there is one: all that master and workers ever tell each other of it."""
    return bool(os.environ.get(KEY_VARIABLE, "").strip())


class Door:
    """One server, seen by users who all come the same way."""

    def __init__(self, host: str, options: Options, model: str) -> None:
        self._options = options
        self._model = model
        self._target: Target = parse_target(host)
        self.key = api_key()
        self.limits = Limits(
            options.timeout_connect,
            options.timeout_first,
            options.timeout_gap,
            options.timeout_total,
            options.patience,
        )

    def connection(self) -> Connection:
        """A connection of one user's own, not yet open."""
        return Connection(self._target, _context(not self._options.insecure) if self._target.tls else None)

    def request(self, path: str, said: Said, streamed: bool, more: Mapping[str, Any]) -> bytes:
        """The bytes of one request; `more` goes into the body and wins over the options."""
        options = self._options
        extra: dict[str, Any] = {
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
        }
        if options.ignore_eos:
            extra["ignore_eos"] = True
        form = RequestForm(options.usage)
        body = request_body(path, said, self._model, stream=streamed, form=form, extra={**extra, **more})
        head = [
            f"POST {self._target.path(path)} HTTP/1.1",
            f"Host: {self._target.authority}",
            f"User-Agent: probe-ext/{__version__}",
            "Content-Type: application/json",
            f"Accept: {'text/event-stream' if streamed else 'application/json'}",
            "Accept-Encoding: identity",
            f"Content-Length: {len(body)}",
        ]
        head += auth_headers(path, self.key)
        return ("\r\n".join(head) + "\r\n\r\n").encode("utf-8") + body


def _context(verify: bool) -> ssl.SSLContext:
    if verify not in _contexts:
        _contexts[verify] = tls.context(verify=verify)
    return _contexts[verify]
