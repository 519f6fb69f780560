"""The server under test as users reach it: makes connections and requests, with the API key and time limits."""

import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from probe_ext import __version__
from probe_ext.client.api.request_form import RequestForm, auth_headers, request_body
from probe_ext.client.exchange import Limits
from probe_ext.client.wire.address import Target, parse_target
from probe_ext.client.wire.connection import Connection
from probe_ext.settings.options import Options
from probe_ext.settings.request_extras import header_pairs
from probe_ext.settings.secrets import api_key, secret_headers
from probe_ext.tls_trust import TlsFileError, TlsSettings, client_context

_contexts: dict[TlsSettings, ssl.SSLContext | TlsFileError] = {}

_LENGTH = "\0"  # in a head, where no header can contain it

Payload = str | Sequence[Mapping[str, Any]]
"""a prompt, or the messages of a chat"""


class Endpoint:
    """One server with the options of a run, and the form of request that it accepts.

    ValueError if the address is invalid, or a secret is missing in the environment.
    """

    def __init__(self, host: str, options: Options, model: str, form: RequestForm | None = None) -> None:
        self._options = options
        self._form = form or RequestForm(options.usage)
        hidden = secret_headers(options.header_env)
        self._headers = {**header_pairs(options.header), **hidden}
        self._body_extras = options.body_extras
        self._fields: dict[str, Any] = {
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            **({"ignore_eos": True} if options.ignore_eos else {}),
        }
        self._heads: dict[tuple[str, bool], tuple[bytes, bytes]] = {}
        """by path, and whether a stream is requested"""
        self._model = model
        self._target: Target = parse_target(host)
        self._key = api_key()
        self.secrets = tuple(filter(None, (self._key, *hidden.values())))
        """what must not appear in any message"""
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

    def request(self, path: str, payload: Payload, streamed: bool, parameters: Mapping[str, Any]) -> bytes:
        """Return the bytes of one request; `parameters` go into the body and override --body and the options."""
        body = request_body(
            path,
            payload,
            self._model,
            stream=streamed,
            form=self._form,
            extra=self._fields,
            own={**self._body_extras, **parameters},
        )
        start, end = self._heads.get((path, streamed)) or self._head(path, streamed)
        return b"".join((start, b"%d" % len(body) if end else b"", end, body))

    def _head(self, path: str, streamed: bool) -> tuple[bytes, bytes]:
        """Return, and keep, what surrounds the length in a request's head; all and nothing if the user sets it."""
        headers = [
            f"Host: {self._target.authority}",
            f"User-Agent: probe-ext/{__version__}",
            "Content-Type: application/json",
            f"Accept: {'text/event-stream' if streamed else 'application/json'}",
            "Accept-Encoding: identity",
            f"Content-Length: {_LENGTH}",
        ]
        lines = [f"POST {self._target.path(path)} HTTP/1.1"]
        lines += with_extra_headers([*headers, *auth_headers(path, self._key)], self._headers)
        start, _, end = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8").partition(_LENGTH.encode())
        self._heads[path, streamed] = start, end
        return start, end

    def choices(self, parameters: Mapping[str, Any]) -> int:
        """Return how many choices a request asks for, by `n` in its parameters or --body."""
        asked = parameters.get("n") or self._body_extras.get("n")
        return asked if isinstance(asked, int) and asked > 0 else 1


def with_extra_headers(lines: Iterable[str], extra: Mapping[str, str]) -> list[str]:
    """Return header lines with the extra headers, which replace ours of the same name."""
    replaced = {name.lower() for name in extra}
    kept = [line for line in lines if line.partition(":")[0].lower() not in replaced]
    return kept + [f"{name}: {value}" for name, value in extra.items()]


def _context(settings: TlsSettings) -> ssl.SSLContext | TlsFileError:
    """Return the process's context; or, on a worker whose files cannot be used, why each connection fails."""
    if settings not in _contexts:
        try:
            _contexts[settings] = client_context(settings)
        except TlsFileError as error:
            return TlsFileError(f"{error} (on this load generator)")
    return _contexts[settings]
