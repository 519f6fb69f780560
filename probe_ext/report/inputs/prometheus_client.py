"""Access to a Prometheus: the only module that uses prometheus-api-client, and makes up for its gaps.

The library has no default timeout, only whole seconds, and passes server responses on as exception texts. Raw samples
are read with an instant query for a range vector instead of a range query: it returns the scrapes' own timestamps, has
no step and no limit of 11,000 points, and does not repeat values for five minutes after a failed scrape.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from probe_ext.measure import clock
from probe_ext.measure.safe_text import safe_text
from probe_ext.settings.prometheus_access import AUTH_VARIABLE, PrometheusSource
from probe_ext.target.control.deadline import Late, within
from probe_ext.target.control.fetch import TlsAdapter, why_failed
from probe_ext.tls_trust import SYSTEM, TlsFileError

TIMEOUT_S = 30.0
"""Of one query, headers and body included."""
TOTAL_TIMEOUT_S = 300.0
"""Of all queries of a report."""
MAX_BODY_BYTES = 256 * 2**20
_CHUNK_BYTES = 1 << 20
_RETRIES = Retry(total=2, backoff_factor=0.3, status_forcelist=(502, 503, 504), raise_on_status=False)
_STATUS = re.compile(r"HTTP Status Code (\d+) \((.*)\)", re.DOTALL)
_ERROR_FIELD = re.compile(r'"error"\s*:\s*"((?:[^"\\]|\\.)*)"')

T = TypeVar("T")


class PrometheusError(Exception):
    """No metrics can be read; one line with the URL and the reason, without credentials."""


@dataclass(frozen=True, slots=True)
class Series:
    """Raw samples of one series."""

    labels: Mapping[str, str]
    """including `__name__`"""
    samples: Sequence[tuple[float, float]]
    """Unix time of the scrape, and the value"""


class _LimitedSession(requests.Session):
    """Reads no more of a response than MAX_BODY_BYTES."""

    def send(self, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        """Send a request. `requests.ConnectionError` if the response is larger."""
        response = super().send(request, **{**how, "stream": True})
        body = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                response.close()
                raise TooLargeError
        response._content = bytes(body)  # noqa: SLF001 - as requests itself does for what it reads
        return response


class TooLargeError(requests.RequestException):
    """A response exceeds MAX_BODY_BYTES."""


class Prometheus:
    """One Prometheus, limited to the series that the matchers select. Every call may raise PrometheusError."""

    def __init__(self, source: PrometheusSource, timeout: float = TIMEOUT_S) -> None:
        self._source = source
        self._timeout, self._until = timeout, clock.monotonic() + TOTAL_TIMEOUT_S
        session = _LimitedSession()
        session.trust_env = False  # a .netrc would replace the given header
        headers = {"Authorization": source.authorization} if source.authorization else {}
        self._client = PrometheusConnect(source.url, headers, session=session, retry=_RETRIES, timeout=timeout)
        try:
            session.mount(source.url, TlsAdapter(SYSTEM, max_retries=_RETRIES))  # after the client's own
        except TlsFileError as error:
            raise PrometheusError(str(error)) from error

    def clock_offset(self) -> tuple[float, float]:
        """Return how far its clock is ahead of this machine's, and the error of that, in seconds."""
        before = clock.wall()
        server_time = self._call(lambda: float(self._client.custom_query("time()")[1]))
        after = clock.wall()
        return server_time - (before + after) / 2, (after - before) / 2

    def names(self, start: float, end: float) -> list[str]:
        """Return the names of all selected series of a window (Unix time)."""
        params: dict[str, Any] = {"start": start, "end": end}
        if self._source.match:
            params["match[]"] = f"{{{self._source.match}}}"
        return self._call(lambda: [str(name) for name in self._client.get_label_values("__name__", params)])

    def samples(self, names: Sequence[str], start: int, end: int, more: str = "") -> list[Series]:
        """Return the raw samples after `start` up to `end` of series with these names; `more`: further matchers.

        Whether a sample at `start` itself is included depends on the version.
        """
        chosen = "|".join(re.escape(name) for name in names).replace("\\", "\\\\")
        inside = ",".join(part for part in (f'__name__=~"{chosen}"', self._source.match, more) if part)
        query = f"{{{inside}}}[{end - start}s]"
        return self._call(lambda: [_series(one) for one in self._client.custom_query(query, {"time": end})])

    def help_of(self, name: str) -> str:
        """Return the metric's current HELP text; "" if it is not known."""
        plain = name.removesuffix("_total")
        candidates = dict.fromkeys((name, name.replace("_", ":", 1), plain, plain.replace("_", ":", 1)))  # as scraped
        return next((text for one in candidates if (text := self._call(lambda one=one: self._help(one)))), "")  # type: ignore[misc]

    def _help(self, name: str) -> str:
        metadata = self._client.get_metric_metadata(name)
        return str(metadata[0]["help"]) if metadata else ""

    def _call(self, call: Callable[[], T]) -> T:
        """Return the result, or raise PrometheusError with the reason."""
        left = min(self._timeout, self._until - clock.monotonic())
        why = "timed out"
        try:
            if left > 0:
                return within(left, call)
        except Late:
            pass
        except TooLargeError:
            why = f"response exceeds {MAX_BODY_BYTES} bytes"
        except PrometheusApiClientException as error:
            why = _refusal(str(error), has_header=self._source.authorization is not None)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError):
            why = "not the response of a Prometheus"
        except (requests.RequestException, OSError) as error:
            why = why_failed(error)
        raise PrometheusError(f"--prometheus {self._source.url}: {safe_text(why, self._source.authorization)}")


def _series(one: Mapping[str, Any]) -> Series:
    return Series(
        {str(k): str(v) for k, v in one["metric"].items()}, [(float(t), float(v)) for t, v in one.get("values", ())]
    )


def _refusal(message: str, *, has_header: bool) -> str:
    """Explain an HTTP status, with the error message of Prometheus if there is one."""
    match = _STATUS.match(message)
    status, body = (match[1], match[2]) if match else ("", message)
    if status in ("401", "403"):
        return (
            f"{status}: the header from {AUTH_VARIABLE} was rejected"
            if has_header
            else f"{status}: set {AUTH_VARIABLE}"
        )
    error = _ERROR_FIELD.search(body)
    return f"{status}: {error[1]}" if error else f"{status}: not a Prometheus"
