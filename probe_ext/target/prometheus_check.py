"""Whether a Prometheus will have something to say: asked before a run, so that an hour of load is not spent in vain."""

from typing import Any, Protocol
from urllib.parse import urlencode

from probe_ext.target.call_result import Answer, Failed, json_object
from probe_ext.target.engine_metrics import ENGINES

_PRESENT = "|".join(
    sorted(
        {
            name.replace("_", "[:_]", 1)  # `vllm:x`, or `vllm_x` where a scrape rewrote it
            for engine in ENGINES
            for source in engine.sources
            for name in source.metrics
            if source.quantity == "running"
        }
    )
)
"""the gauge that every engine has"""


class Getter(Protocol):
    """What is needed of a `Fetcher`."""

    def get(self, url: str, timeout: float | None = None) -> Answer | Failed:
        """The answer to a GET."""


def prometheus_problem(url: str, match: str, getter: Getter) -> str | None:
    """Why nothing can be expected of it, in a few words; None when it has figures of an engine now."""
    inside = ",".join(part for part in (f'__name__=~"{_PRESENT}"', match) if part)
    asked = urlencode({"query": f"count by (__name__) ({{{inside}}})"})
    answer = getter.get(f"{url}/api/v1/query?{asked}")
    if isinstance(answer, Failed):
        return f"{answer.why}{_HINTS.get(answer.status or 0, '')}"
    told: Any = json_object(answer)
    try:
        found = told["data"]["result"]
    except (KeyError, TypeError):
        return "the answer is none of a Prometheus"
    if found:
        return None
    selected = f" with {{{match}}}" if match else ""
    return f"it has no series of an engine{selected} at present"


_HINTS = {400: ": the matchers are no PromQL", 401: "; see PROBE_PROMETHEUS_AUTH", 404: ": no Prometheus answers there"}
