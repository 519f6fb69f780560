"""Control calls: short, bounded in time and size, and careful with the key.

A `Fetcher` never raises for what a server or a network does: it returns `Failed`, whose words hold no URL and no
exception text, since either may carry a secret.
"""

import http.client
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import requests
import urllib3
from requests.auth import AuthBase

from probe_ext.measure import clock
from probe_ext.target.call_result import Answer, Failed
from probe_ext.target.urls import same_place, shown

MAX_BODY = 16 * 1024 * 1024
"""bytes: a longer answer is dropped unread"""

_CHUNK = 65536
_REDIRECTS = 3
_PLAIN = {"Accept": "text/plain; version=0.0.4, application/json, */*;q=0.5", "Accept-Encoding": "identity"}
_TROUBLE = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)


class _Header(AuthBase):
    """Puts credentials on a request; set per call, so that neither `.netrc` nor a redirect can change where they go."""

    def __init__(self, authorization: str | None) -> None:
        self._authorization = authorization

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._authorization and not self._authorization.isprintable():
            raise requests.exceptions.InvalidHeader
        if self._authorization:
            request.headers["Authorization"] = self._authorization
        return request


_NO_KEY = _Header(None)


class Fetcher:
    """GET and POST for control pages, with a session of its own."""

    def __init__(
        self,
        key: str | None = None,
        *,
        home: str | None = None,
        verify: bool | str = True,
        timeout: float = 5.0,
        limit: int = MAX_BODY,
        authorization: str | None = None,
    ) -> None:
        """`authorization`: a whole header, in place of a key.

        `home`: the server that the key is for; others are asked without it. `verify`: check certificates, or the
        path of a CA bundle. `timeout`: seconds for a whole call."""
        self._auth = _Header(authorization or (f"Bearer {key}" if key else None))
        self._home = home
        self._has_key = bool(key or authorization)
        self._verify = verify
        if verify is False:  # asked for by name: once is enough
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._timeout = timeout
        self._limit = limit
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, no .netrc: the same way that the load takes

    def __repr__(self) -> str:
        return f"Fetcher(key={'set' if self._has_key else 'none'}, timeout={self._timeout})"

    def get(self, url: str, timeout: float | None = None) -> Answer | Failed:
        """The answer to a GET, redirects within the same host followed."""
        return self._call("GET", url, None, timeout or self._timeout)

    def post(self, url: str, payload: dict[str, Any], timeout: float | None = None) -> Answer | Failed:
        """The answer to a POST of JSON."""
        return self._call("POST", url, payload, timeout or self._timeout)

    def close(self) -> None:
        """Close kept connections."""
        self._session.close()

    def _call(self, method: str, url: str, payload: dict[str, Any] | None, timeout: float) -> Answer | Failed:
        deadline = clock.monotonic() + timeout
        try:
            for _ in range(_REDIRECTS + 1):
                left = max(0.05, deadline - clock.monotonic())
                with self._ask(method, url, payload, left) as response:
                    target = response.headers.get("Location") if response.is_redirect else None
                    if target is None:
                        return self._answer(response, deadline)
                target = urljoin(url, target)
                if not same_place(url, target):
                    return Failed(f"redirects to another host: {shown(target)[:80]}")
                url = target
        except _TROUBLE as error:
            return Failed(why_failed(error))
        return Failed("too many redirects")

    def _ask(self, method: str, url: str, payload: dict[str, Any] | None, timeout: float) -> requests.Response:
        return self._session.request(
            method,
            url,
            json=payload,
            headers=_PLAIN,
            auth=self._auth if self._home is None or same_place(self._home, url) else _NO_KEY,
            verify=self._verify,
            timeout=timeout,
            stream=True,
            allow_redirects=False,
        )

    def _answer(self, response: requests.Response, deadline: float) -> Answer | Failed:
        if not 200 <= response.status_code < 300:
            return Failed(_refusal(response.status_code, has_key=self._has_key), response.status_code)
        body = bytearray()
        for chunk in _chunks(response):
            body += chunk
            if len(body) > self._limit:
                return Failed(f"longer than {self._limit} bytes", response.status_code)
            if clock.monotonic() > deadline:
                return Failed("timed out", response.status_code)
        return Answer(response.status_code, bytes(body), response.headers.get("Server", ""))


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """What each read brings: `iter_content` would wait for whole chunks and let a dripping body pass the deadline."""
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        yield chunk


def _refusal(status: int, *, has_key: bool) -> str:
    if status == 401:
        return "401 the key was refused" if has_key else "401 needs a key"
    if status == 403:
        return "403 the key was refused" if has_key else "403 forbidden"
    return str(status)


_WORDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (  # the first that is met in the chain
    ((requests.exceptions.SSLError,), "TLS failed or the certificate was not accepted"),
    ((socket.gaierror,), "host name not known"),
    ((ConnectionRefusedError,), "connection refused"),
    ((requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError), "timed out"),
    ((requests.exceptions.ContentDecodingError, urllib3.exceptions.DecodeError), "a damaged compressed body"),
    ((http.client.IncompleteRead, urllib3.exceptions.IncompleteRead), "cut off"),
    ((http.client.HTTPException,), "not HTTP, or cut off"),
    ((UnicodeError, requests.exceptions.InvalidHeader), "host or key cannot be sent"),
    ((ValueError, urllib3.exceptions.LocationValueError), "not a URL"),
)


def why_failed(error: BaseException) -> str:
    """Words for a failure, from the types in its chain only."""
    chain = list(_chain(error))
    for kinds, words in _WORDS:
        if any(isinstance(link, kinds) for link in chain):
            return words
    named = [link.strerror for link in chain if isinstance(link, OSError) and link.errno and link.strerror]
    return named[-1].lower() if named else "the connection broke"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was made from: requests and urllib3 wrap one another as causes, reasons and arguments."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        link = todo.pop(0)
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            todo += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
