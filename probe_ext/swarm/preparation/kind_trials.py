"""Before a run, ask once in every way that a workload's kinds ask: by API and by model.

A kind that nobody answers is known before the load, and no kind sends fields that another API of the server refuses.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import gevent

from probe_ext.client.api.request_form import RequestForm
from probe_ext.settings.options import Options
from probe_ext.swarm.preparation.target_probe import Preparation
from probe_ext.swarm.preparation.trial import Trial, try_server
from probe_ext.swarm.preparation.warm_up import short_prompts
from probe_ext.workload.workload_file import Workload

MAX_WAYS = 8
_USAGES = ("continuous", "final", "none")


@dataclass(frozen=True)
class Way:
    """How requests of a kind are addressed."""

    kind: str
    api: str
    model: str


def ways_of(workload: Workload, options: Options, model: str) -> list[Way]:
    """Return the ways in which kinds ask, each once, with the first kind that uses it; `model`: the run's own."""
    found: dict[tuple[str, str], Way] = {}
    for kind in workload.kinds:
        for name in kind.model.names if kind.model else (model,):
            api = kind.api or options.api
            found.setdefault((api, name), Way(kind.name, api, name))
    return list(found.values())


def try_kinds(preparation: Preparation, options: Options, tell: Callable[[str], None]) -> Iterator[tuple[Way, Trial]]:
    """Yield what came of each way but the one of the first requests; at most MAX_WAYS."""
    prepared = preparation.workload
    if prepared is None:
        return
    own = preparation.model or ""
    ways = ways_of(prepared.workload, options, own)
    others = [way for way in ways if (way.api, way.model) != (prepared.sample.api, own)]
    for way in others[:MAX_WAYS]:
        tell(f"asking the server for a first reply to {way.kind}")
        asked = replace(prepared.sample, api=way.api)
        prompts = short_prompts(asked, preparation)
        yield way, try_server(preparation.host, way.model, asked, prompts.next, gevent.sleep)


def common_form(one: RequestForm, other: RequestForm) -> RequestForm:
    """Return the form that has only what both have."""
    usage = max(one.usage, other.usage, key=_USAGES.index)
    return replace(
        one,
        usage=usage,
        left_out=one.left_out | other.left_out,
        refused_length_fields=one.refused_length_fields | other.refused_length_fields,
    )
