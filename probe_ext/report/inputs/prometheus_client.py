"""The way to a Prometheus: the one module that knows prometheus-api-client, and what it leaves to its caller.

It has no default timeout, cannot ask for moments finer than a second, and hands on what a server said as an exception's
text. Raw samples are asked for (an instant query for a range vector), not a range query: that brings the scrapes' own
moments, no step, no limit of 11,000 points, and no value made up for five minutes after a scrape failed.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from probe_ext.client.safe_text import safe_text
from probe_ext.measure import clock
from probe_ext.settings.prometheus_access import AUTH_VARIABLE, AUTHORITIES_VARIABLE, PrometheusSource
from probe_ext.target.fetch import why_failed

TIMEOUT = 30.0
_AGAIN = Retry(total=2, backoff_factor=0.3, status_forcelist=(502, 503, 504), raise_on_status=False)
_STATUS = re.compile(r"HTTP Status Code (\d+) \((.*)\)", re.DOTALL)
_TOLD = re.compile(r'"error"\s*:\s*"((?:[^"\\]|\\.)*)"')

T = TypeVar("T")


class PrometheusError(Exception):
    """No figures can be had; one line that names the address and the reason, and no credentials."""


@dataclass(frozen=True, slots=True)
class Series:
    """Raw samples of one series."""

    labels: Mapping[str, str]
    """`__name__` among them"""
    samples: Sequence[tuple[float, float]]
    """Unix seconds of the scrape, and the value"""


class Prometheus:
    """One Prometheus, asked about the series that its matchers select. PrometheusError from every call."""

    def __init__(self, source: PrometheusSource, timeout: float = TIMEOUT) -> None:
        self._source = source
        session = requests.Session()
        session.trust_env = False  # a .netrc would take the place of the header that was given
        session.verify = os.environ.get(AUTHORITIES_VARIABLE) or True
        headers = {"Authorization": source.authorization} if source.authorization else {}
        self._client = PrometheusConnect(source.url, headers, session=session, retry=_AGAIN, timeout=timeout)

    def clock_offset(self) -> tuple[float, float]:
        """How far its clock is ahead of this machine's, and by how much that may be wrong; seconds."""
        before = clock.wall()
        theirs = self._asked(lambda: float(self._client.custom_query("time()")[1]))
        after = clock.wall()
        return theirs - (before + after) / 2, (after - before) / 2

    def names(self, start: float, end: float) -> list[str]:
        """The names of all selected series of a window."""
        params: dict[str, Any] = {"start": start, "end": end}
        if self._source.match:
            params["match[]"] = f"{{{self._source.match}}}"
        return self._asked(lambda: [str(name) for name in self._client.get_label_values("__name__", params)])

    def samples(self, names: Sequence[str], start: int, end: int, more: str = "") -> list[Series]:
        """The raw samples after `start`, up to `end`, of series with these names; `more`: further matchers.

        Whether a sample at `start` itself is among them depends on the version.
        """
        chosen = "|".join(re.escape(name) for name in names).replace("\\", "\\\\")
        inside = ",".join(part for part in (f'__name__=~"{chosen}"', self._source.match, more) if part)
        query = f"{{{inside}}}[{end - start}s]"
        return self._asked(lambda: [_series(one) for one in self._client.custom_query(query, {"time": end})])

    def help_of(self, name: str) -> str:
        """What the metric's HELP line says now; "" where that is not known."""
        plain = name.removesuffix("_total")
        kept = dict.fromkeys((name, name.replace("_", ":", 1), plain, plain.replace("_", ":", 1)))  # as it was scraped
        return next((told for one in kept if (told := self._asked(lambda one=one: self._help(one)))), "")  # type: ignore[misc]

    def _help(self, name: str) -> str:
        told = self._client.get_metric_metadata(name)
        return str(told[0]["help"]) if told else ""

    def _asked(self, call: Callable[[], T]) -> T:
        """The answer, or one line about why there is none."""
        try:
            return call()
        except PrometheusApiClientException as error:
            why = _refusal(str(error), has_header=self._source.authorization is not None)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            why = "the answer is none of a Prometheus"
        except (requests.RequestException, OSError) as error:
            why = why_failed(error)
        raise PrometheusError(f"--prometheus {self._source.url}: {safe_text(why, self._source.authorization)}")


def _series(one: Mapping[str, Any]) -> Series:
    return Series(
        {str(k): str(v) for k, v in one["metric"].items()}, [(float(t), float(v)) for t, v in one.get("values", ())]
    )


def _refusal(told: str, *, has_header: bool) -> str:
    """An HTTP status in words, with what Prometheus itself says of a query."""
    found = _STATUS.match(told)
    status, body = (found[1], found[2]) if found else ("", told)
    if status in ("401", "403"):
        return (
            f"{status}: the header of {AUTH_VARIABLE} was refused" if has_header else f"{status}: set {AUTH_VARIABLE}"
        )
    said = _TOLD.search(body)
    return f"{status}: {said[1]}" if said else f"{status}: no Prometheus answers there"
