"""Polls GPU exporters as `target.metrics.poller` polls the server, and emits rows of `gpu.csv`."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from probe_ext.measure.findings import recorded_finding
from probe_ext.measure.table_rows import GpuRow
from probe_ext.target.control.urls import split_gpus
from probe_ext.target.gpu.gpu_page import read_gpu_page
from probe_ext.target.metrics.poller import Fetch, Poller

_ADVICE = "GPU figures are missing for these times and are not interpolated. Check --gpu-metrics and the exporter."


def gpu_pollers(
    given: Sequence[str],
    fetch: Fetch,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
    spawn: Callable[[Callable[[], None]], object],
    emit: Callable[[list[GpuRow]], None],
    period: float,
) -> tuple[Poller, ...]:
    """Make a poller for each exporter. `given`: URLs, each with the GPUs that it selects (`URL#0+1`)."""
    return tuple(
        Poller(
            [url],
            fetch,
            partial(read_gpu_page, chosen=gpus),
            clock=clock,
            sleep=sleep,
            spawn=spawn,
            emit=lambda rows: emit([GpuRow(r.t, r.url, r.engine, r.quantity, r.value) for r in rows]),
            period=period,
        )
        for url, gpus in map(split_gpus, given)
    )


def gpu_findings(pollers: Iterable[Poller]) -> list[dict[str, Any]]:
    """Return what could not be read of the GPUs, in the format of `capacity.json`'s findings."""
    return [recorded_finding("gpu_metrics", f["why"], _ADVICE) for poller in pollers for f in poller.findings()]
