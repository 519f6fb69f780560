"""Check before a run that a Prometheus has metrics of the server, so that no hour of load is wasted."""

from typing import Any, Protocol
from urllib.parse import urlencode

from probe_ext.target.control.call_result import Answer, Failed, json_object
from probe_ext.target.metrics.engine_metrics import ENGINES

_RUNNING_METRICS = "|".join(
    sorted(
        {
            "(?:ray_)?" + name.replace("_", "[:_]", 1)  # `vllm:x`, or `vllm_x` if rewritten by a scraper
            for engine in ENGINES
            for source in engine.sources
            for name in source.metrics
            if source.quantity == "running"
        }
    )
)
"""pattern of the gauge that every engine has"""


class Getter(Protocol):
    """The part of `Fetcher` that is used here."""

    def get(self, url: str, timeout: float | None = None) -> Answer | Failed:
        """Send a GET."""


def prometheus_problem(url: str, match: str, getter: Getter) -> str | None:
    """Return why the Prometheus is of no use, None if it currently has metrics of an engine."""
    selector = ",".join(part for part in (f'__name__=~"{_RUNNING_METRICS}"', match) if part)
    query = urlencode({"query": f"count by (__name__) ({{{selector}}})"})
    answer = getter.get(f"{url}/api/v1/query?{query}")
    if isinstance(answer, Failed):
        return f"{answer.why}{_HINTS.get(answer.status or 0, '')}"
    body: Any = json_object(answer)
    try:
        series = body["data"]["result"]
    except (KeyError, TypeError):
        return "not a Prometheus API response"
    if series:
        return None
    matching = f" matching {{{match}}}" if match else ""
    return f"currently has no engine metrics{matching}"


_HINTS = {400: ": invalid label matchers", 401: "; see PROBE_PROMETHEUS_AUTH", 404: ": not a Prometheus"}
