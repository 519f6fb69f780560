"""The server under test as users reach it: makes connections and requests, with the API key and time limits."""

import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext import __version__
from probe_ext.client.api.request_form import RequestForm, auth_headers, request_body
from probe_ext.client.exchange import Limits
from probe_ext.client.wire.address import Target, parse_target
from probe_ext.client.wire.connection import Connection
from probe_ext.settings.options import Options
from probe_ext.settings.secrets import api_key
from probe_ext.tls_trust import TlsFileError, TlsSettings, client_context

_contexts: dict[TlsSettings, ssl.SSLContext | TlsFileError] = {}

Payload = str | Sequence[Mapping[str, Any]]
"""a prompt, or the messages of a chat"""


class Endpoint:
    """One server with the options of a run."""

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
        """Return a new connection for one user, not yet open."""
        return Connection(self._target, _context(self._options.tls) if self._target.tls else None)

    def request(
        self,
        path: str,
        payload: Payload,
        streamed: bool,
        parameters: Mapping[str, Any],
        form: RequestForm | None = None,
    ) -> bytes:
        """Return the bytes of one request.

        `parameters` go into the body and override the options; `form` replaces the form that the options ask for.
        """
        options = self._options
        extra: dict[str, Any] = {
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
        }
        if options.ignore_eos:
            extra["ignore_eos"] = True
        form = form or RequestForm(options.usage)
        body = request_body(path, payload, self._model, stream=streamed, form=form, extra={**extra, **parameters})
        headers = [
            f"POST {self._target.path(path)} HTTP/1.1",
            f"Host: {self._target.authority}",
            f"User-Agent: probe-ext/{__version__}",
            "Content-Type: application/json",
            f"Accept: {'text/event-stream' if streamed else 'application/json'}",
            "Accept-Encoding: identity",
            f"Content-Length: {len(body)}",
        ]
        headers += auth_headers(path, self.key)
        return ("\r\n".join(headers) + "\r\n\r\n").encode("utf-8") + body


def _context(settings: TlsSettings) -> ssl.SSLContext | TlsFileError:
    """Return the process's context; or, on a worker whose files cannot be used, why each connection fails."""
    if settings not in _contexts:
        try:
            _contexts[settings] = client_context(settings)
        except TlsFileError as error:
            return TlsFileError(f"{error} (on this load generator)")
    return _contexts[settings]
