"""Does the server have requests before a run sends any? Then others use it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from probe_ext.target.control.call_result import Answer, Failed
from probe_ext.target.metrics.catalogue import read_page
from probe_ext.target.metrics.metrics_text import Unreadable

SECOND_LOOK_AFTER_S = 1.0
_GAUGES = ("running", "waiting")
_COUNTERS = ("generation_tokens", "prompt_tokens", "requests_finished")


@dataclass(frozen=True)
class Busy:
    """Requests at a server; None where it does not report them."""

    running: int | None = None
    waiting: int | None = None


def look(url: str, model: str | None, get: Callable[[str], Answer | Failed], sleep: Callable[[float], object]) -> Busy:
    """Return the requests at a server, of two looks a second apart the fewer.

    Idle engines leave their gauges as the last step set them: requests that run while no counter moves are not there.
    """
    first = _read(url, model, get)
    if not any(first.get(name) for name in _GAUGES):
        return _busy(first)
    sleep(SECOND_LOOK_AFTER_S)
    second = _read(url, model, get)
    known = [name for name in _COUNTERS if name in first and name in second]
    idle = known and all(first[name] == second[name] for name in known) and not second.get("waiting")
    gauges = [name for name in _GAUGES if name in first and name in second]
    return _busy({name: 0.0 if idle else min(first[name], second[name]) for name in gauges})


def _read(url: str, model: str | None, get: Callable[[str], Answer | Failed]) -> dict[str, float]:
    answer = get(url)
    reading = Unreadable(answer.why) if isinstance(answer, Failed) else read_page(answer.body, model)
    totals: dict[str, float] = {}
    for figure in () if isinstance(reading, Unreadable) else reading.figures:
        totals[figure.quantity] = totals.get(figure.quantity, 0.0) + figure.value
    return totals


def _busy(totals: Mapping[str, float]) -> Busy:
    running, waiting = totals.get("running"), totals.get("waiting")
    return Busy(None if running is None else int(running), None if waiting is None else int(waiting))
