"""Control requests: bounded in time and size, and careful with the API key.

A `Fetcher` does not raise for network or server errors: it returns `Failed`, whose text contains neither URLs nor
exception messages, since both may contain secrets.

A call that is not over at its deadline is given up, whatever it waits for: its socket is shut down, which ends it,
unless it is still resolving a name. A port that answers with nothing sensible is asked once whether it speaks the other
scheme: all pages are asked for by a fetcher, so whoever gave the URL of one is told.
"""

import http.client
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any
from urllib.parse import urljoin, urlsplit
from weakref import WeakSet

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from probe_ext.measure import clock
from probe_ext.target.control.call_result import Answer, Failed
from probe_ext.target.control.deadline import Late, within
from probe_ext.target.control.racing import first_connection
from probe_ext.target.control.scheme_check import may_be_the_scheme, scheme_advice
from probe_ext.target.control.urls import origin, same_place, shown
from probe_ext.tls_trust import AUTHORITIES_VARIABLE, CLOSED, SYSTEM, TlsSettings, client_context, why_refused

MAX_BODY_BYTES = 16 * 1024 * 1024

_CHUNK_BYTES = 65536
_MAX_REDIRECTS = 3
_MIN_TIMEOUT_S = 0.05
_MAX_ERROR_BYTES = 8192
_MAX_ABANDONED = 8  # threads that resolve a name and were given up
_TIMED_OUT = "timed out"
_HEADERS = {"Accept": "text/plain; version=0.0.4, application/json, */*;q=0.5", "Accept-Encoding": "identity"}
_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)


class _Authorization(AuthBase):
    """Adds the Authorization header. Passed per request, so neither `.netrc` nor redirects change its recipient."""

    def __init__(self, authorization: str | None) -> None:
        self._authorization = authorization

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._authorization and not self._authorization.isprintable():
            raise requests.exceptions.InvalidHeader
        if self._authorization:
            request.headers["Authorization"] = self._authorization
        return request


_NO_AUTHORIZATION = _Authorization(None)


class TlsAdapter(HTTPAdapter):
    """Uses our own TLS context and none of requests' authorities. TlsFileError if one of its files cannot be used."""

    def __init__(self, tls: TlsSettings, **options: Any) -> None:
        self._tls = tls
        if tls.ca or tls.cert or tls.key or os.environ.get(AUTHORITIES_VARIABLE):
            _ = self._context  # an unusable file is told now
        super().__init__(**options)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        """Made when it is first used: reading the system's authorities takes longer than all requests before a run."""
        return client_context(self._tls)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {**pool, "ca_certs": None, "ca_cert_dir": None, "ssl_context": self._context}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        conn.ca_certs = conn.ca_cert_dir = None


class Fetcher:
    """GET and POST for control requests, with its own session."""

    def __init__(  # noqa: PLR0913 -- all but the key by name only
        self,
        key: str | None = None,
        *,
        home: str | None = None,
        tls: TlsSettings = SYSTEM,
        timeout: float = 5.0,
        limit: int = MAX_BODY_BYTES,
        authorization: str | None = None,
        headers: Mapping[str, str] | None = None,
        give_up: bool = False,
    ) -> None:
        """`authorization`: a complete header value instead of a key. `headers`: further ones, or instead of ours.

        `give_up`: once a server has not answered in time, ask it nothing more. `home`: the server that gets the key,
        the further headers and the client certificate; requests to others are sent without them. `timeout`: seconds for
        a whole request. TlsFileError if a file of `tls` cannot be used."""
        self._headers = dict(headers or {})
        own = "authorization" in map(str.lower, self._headers)
        self._auth = _Authorization(None if own else authorization or (f"Bearer {key}" if key else None))
        self._home = home
        self._has_key = bool(key or authorization or own)
        self._silent: set[str] | None = set() if give_up else None
        """servers that did not answer in time, and are not asked again"""
        self._verify = not tls.insecure
        if tls.insecure:  # requested by the user
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._timeout = timeout
        self._limit = limit
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, no .netrc, like the load itself
        self._session.mount("https://", TlsAdapter(replace(tls, cert=None, key=None)))
        if home is not None and urlsplit(home).scheme == "https":
            self._session.mount(f"{origin(home)}/", TlsAdapter(tls))  # no other server gets the client certificate
        self._advice: dict[str, str | None] = {}
        """by origin: that the port speaks the other scheme; None where it does not"""
        self._sockets = _record_sockets(self._session)
        self._abandoned: list[threading.Thread] = []

    def __repr__(self) -> str:
        return f"Fetcher(key={'set' if self._has_key else 'none'}, timeout={self._timeout})"

    def get(self, url: str, timeout: float | None = None) -> Answer | Failed:
        """Send a GET; follows redirects within the same host."""
        return self._ask("GET", url, None, timeout or self._timeout)

    def post(self, url: str, payload: dict[str, Any], timeout: float | None = None) -> Answer | Failed:
        """POST JSON."""
        return self._ask("POST", url, payload, timeout or self._timeout)

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()

    def _ask(self, method: str, url: str, payload: dict[str, Any] | None, timeout: float) -> Answer | Failed:
        if self._silent and origin(url) in self._silent:
            return Failed(_TIMED_OUT)
        result = self._bounded(lambda seconds: self._call_and_explain(method, url, payload, seconds), timeout)
        if self._silent is not None and isinstance(result, Failed) and result.why == _TIMED_OUT:
            self._silent.add(origin(url))
        return result

    def _bounded(self, call: Callable[[float], Answer | Failed], seconds: float) -> Answer | Failed:
        """Return the result, or Failed once the time is over, whatever the call is waiting for."""
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        if len(self._abandoned) >= _MAX_ABANDONED:
            return Failed("timed out")
        try:
            return within(seconds + _MIN_TIMEOUT_S, lambda: call(seconds))
        except Late as late:
            self._shut_down()
            self._abandoned.append(late.thread)
            return Failed("timed out")

    def _shut_down(self) -> None:
        """End whatever waits for a server. Calls of other threads on this fetcher fail too, and are repeated."""
        for sock in list(self._sockets):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _call_and_explain(
        self, method: str, url: str, payload: dict[str, Any] | None, timeout: float
    ) -> Answer | Failed:
        deadline = clock.monotonic() + timeout
        result = self._call(method, url, payload, timeout)
        if isinstance(result, Failed) and may_be_the_scheme(url, result):
            place = origin(url)
            if place not in self._advice:
                self._advice[place] = scheme_advice(place, max(_MIN_TIMEOUT_S, deadline - clock.monotonic()))
            if why := self._advice[place]:
                return Failed(why)
        return result

    def _call(self, method: str, url: str, payload: dict[str, Any] | None, timeout: float) -> Answer | Failed:
        deadline = clock.monotonic() + timeout
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                remaining = max(_MIN_TIMEOUT_S, deadline - clock.monotonic())
                with self._send(method, url, payload, remaining) as response:
                    target = response.headers.get("Location") if response.is_redirect else None
                    if target is None:
                        return self._answer(response, deadline)
                target = urljoin(url, target)
                if not same_place(url, target):
                    return Failed(f"redirects to another host: {shown(target)[:80]}")
                url = target
        except _ERRORS as error:
            return Failed(_closed_without_answer(url, error) or why_failed(error))
        return Failed("too many redirects")

    def _send(self, method: str, url: str, payload: dict[str, Any] | None, timeout: float) -> requests.Response:
        at_home = self._home is None or same_place(self._home, url)
        return self._session.request(
            method,
            url,
            json=payload,
            headers={**_HEADERS, **self._headers} if at_home else _HEADERS,
            auth=self._auth if at_home else _NO_AUTHORIZATION,
            verify=self._verify,
            timeout=timeout,
            stream=True,
            allow_redirects=False,
        )

    def _answer(self, response: requests.Response, deadline: float) -> Answer | Failed:
        if not 200 <= response.status_code < 300:
            why = _status_reason(response.status_code, has_key=self._has_key)
            return Failed(why, response.status_code, _beginning(response, deadline))
        body = bytearray()
        for chunk in _chunks(response):
            body += chunk
            if len(body) > self._limit:
                return Failed(f"response exceeds {self._limit} bytes", response.status_code)
            if clock.monotonic() > deadline:
                return Failed("timed out", response.status_code)
        return Answer(response.status_code, bytes(body), response.headers.get("Server", ""))


def _record_sockets(session: requests.Session) -> "WeakSet[socket.socket]":
    """Return the session's open sockets, also those that still wait for headers, which requests does not show."""
    sockets: WeakSet[socket.socket] = WeakSet()

    def recorded(pool: Any) -> Any:
        class Connection(pool.ConnectionCls):  # type: ignore[misc]
            def _new_conn(self) -> socket.socket:
                try:
                    made: socket.socket = first_connection(self._dns_host, self.port, self.timeout)
                except socket.gaierror as error:
                    raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
                except TimeoutError as error:
                    raise urllib3.exceptions.ConnectTimeoutError(self, "timed out") from error
                except OSError as error:
                    raise urllib3.exceptions.NewConnectionError(self, "not connected") from error
                return made

            def connect(self) -> None:
                super().connect()
                sockets.add(self.sock)

            def close(self) -> None:
                with suppress(OSError):  # urllib3 closes idle connections at exit, when the descriptor may be gone
                    super().close()

        return type(pool.__name__, (pool,), {"ConnectionCls": Connection})

    for adapter in session.adapters.values():
        manager: Any = adapter.poolmanager  # type: ignore[attr-defined]
        manager.pool_classes_by_scheme = {name: recorded(pool) for name, pool in manager.pool_classes_by_scheme.items()}
    return sockets


def _beginning(response: requests.Response, deadline: float) -> bytes:
    """Return the first bytes of an error's body; fewer, or none, where they do not come."""
    body = bytearray()
    with suppress(*_ERRORS):
        for chunk in _chunks(response):
            body += chunk
            if len(body) >= _MAX_ERROR_BYTES or clock.monotonic() > deadline:
                break
    return bytes(body[:_MAX_ERROR_BYTES])


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield each read; `iter_content` waits for full chunks, so that a slow body could pass the deadline."""
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
        yield chunk


def _status_reason(status: int, *, has_key: bool) -> str:
    if status == 401:
        return "401 the key was rejected" if has_key else "401 requires a key"
    if status == 403:
        return "403 the key was rejected" if has_key else "403 forbidden"
    return str(status)


_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (  # the first match in the chain wins
    ((requests.exceptions.SSLError,), "TLS failed or the certificate was rejected"),
    ((socket.gaierror,), "unknown host name"),
    ((ConnectionRefusedError,), "connection refused"),
    ((requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError), "timed out"),
    ((requests.exceptions.ContentDecodingError, urllib3.exceptions.DecodeError), "invalid compressed body"),
    ((http.client.IncompleteRead, urllib3.exceptions.IncompleteRead), "response is incomplete"),
    ((http.client.HTTPException,), "invalid or incomplete HTTP"),
    ((UnicodeError, requests.exceptions.InvalidHeader), "invalid characters in host or key"),
    ((ValueError, urllib3.exceptions.LocationValueError), "not a URL"),
)


def _closed_without_answer(url: str, error: BaseException) -> str | None:
    """Name the client certificate where TLS 1.3 succeeded and the connection then ended: the alert may be lost."""
    silent = any(isinstance(link, http.client.RemoteDisconnected) for link in _chain(error))
    return CLOSED if silent and urlsplit(url).scheme == "https" else None


def why_failed(error: BaseException) -> str:
    """Describe a failure by the exception types in its chain."""
    chain = list(_chain(error))
    if why := next(filter(None, map(why_refused, chain)), None):
        return why
    for kinds, reason in _REASONS:
        if any(isinstance(link, kinds) for link in chain):
            return reason
    errors = [link.strerror for link in chain if isinstance(link, OSError) and link.errno and link.strerror]
    return errors[-1].lower() if errors else "the connection broke"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all it wraps: requests and urllib3 nest errors as causes, reasons and arguments."""
    seen: set[int] = set()
    pending: list[object] = [error]
    while pending:
        link = pending.pop(0)
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            pending += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
