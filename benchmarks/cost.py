"""CPU a token, through Locust and with everything recorded, beside a bare C reader of the same bytes in the same run.

Each figure is the difference between a long and a short run over the difference of their tokens: start and end cancel.
"""

import statistics
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks import native, ours


def cost(
    streams: int, *, tokens: int = 100, rate: float = 50, tls: bool = False, lengths: tuple[float, float]
) -> dict[str, Any]:
    """One figure, and the C reader's."""
    with native.server("--rate", str(rate), tls=tls) as server:
        bare = native.read_bare(server, streams, lengths[1] - lengths[0], tokens)
        short, long = (ours.run(server, ours.Load(streams, seconds, tokens)) for seconds in lengths)
    ours_us = _grown(short, long, lambda run: run.worker_cpu)
    return {
        "streams": streams, "tokens": tokens, "rate": rate, "tls": tls, "seconds": lengths[1],
        "us": ours_us, "bare_us": bare["cpu_us_a_token"], "ratio": ours_us / bare["cpu_us_a_token"],
        "lag_p99": long.lag_p99, "unresolved": long.unresolved,
    }  # fmt: skip


def _grown(short: ours.Run, long: ours.Run, cpu: Callable[[ours.Run], float]) -> float:
    """Microseconds of CPU a token between two runs."""
    return 1e6 * (cpu(long) - cpu(short)) / (long.total("tokens_out") - short.total("tokens_out"))


def by_load(repeats: int) -> list[dict[str, Any]]:
    """The two loads of the targets, plain, and the smaller over TLS; each as often as asked."""
    cases: Iterable[tuple[int, bool]] = [(100, False), (400, False), *([(100, True)] if native.certificate() else [])]
    return [cost(n, tls=tls, lengths=(3, 9)) for _ in range(repeats) for n, tls in cases]


def by_shape() -> list[dict[str, Any]]:
    """Does a token cost more with more streams, in a longer run, in a longer reply? The rate of all is 5,000 tok/s.

    A reply takes from 1 to 8 s here; each run is long enough for several.
    """
    streams = [cost(n, rate=5000 / n, lengths=(9, 25)) for n in (50, 200, 400)]
    run_length = [cost(100, lengths=(4, seconds)) for seconds in (12, 40)]
    reply_length = [cost(100, tokens=tokens, lengths=(9, 25)) for tokens in (50, 200, 400)]
    return [*streams, *run_length, *reply_length]


def by_stage() -> dict[str, Any]:
    """What each stage of a run's work takes, at 100 streams, in microseconds a token."""
    with native.server() as server:
        bare = native.read_bare(server, 100, 10, 100)
        spent = ours.stages(server, ours.Load(100, 25))
    a_token = 1e6 / spent["tokens"]
    return {
        "stages": {stage: seconds * a_token for stage, seconds in spent["seconds"].items()},
        "threads": {
            name: {what: seconds * a_token for what, seconds in used.items()} for name, used in spent["threads"].items()
        },
        "bare_us": bare["cpu_us_a_token"],
    }


def by_workers() -> list[dict[str, Any]]:
    """One worker and two, with a master of their own: CPU a token of the workers, and of the master."""
    return [_workers(count) for count in (1, 2)]


def _workers(count: int) -> dict[str, Any]:
    core = ",".join((native.CLIENT_CORE, native.SERVER_CORE))
    with native.server() as server:
        short, long = (
            ours.run(server, ours.Load(200 * count, seconds), "--processes", str(count), core=core)
            for seconds in (4, 12)
        )
    seconds = long.manifest["duration"] - short.manifest["duration"]
    master = (long.process_cpu - long.worker_cpu) - (short.process_cpu - short.worker_cpu)
    return {
        "workers": count, "streams": 200 * count,
        "us": _grown(short, long, lambda run: run.worker_cpu),
        "master_us": _grown(short, long, lambda run: run.process_cpu - run.worker_cpu),
        "master_share_of_a_core": master / seconds / count,
    }  # fmt: skip


def many_open(streams: int) -> dict[str, Any]:
    """So many streams open in one worker, at 2 tokens a second each, 1,000 more each second until all are there."""
    with native.server("--rate", "2") as server:
        run = ours.run(server, ours.Load(streams, 30, 60), "--drain", "0s", "-r", "1000")
    all_there = [tokens for second, tokens in run.tokens_by_second.items() if 20 <= second < 28]
    return {
        "streams": streams, "most_open": server.did["most_open"],
        "tokens_a_second": statistics.median(all_there),
        "us": 1e6 * run.worker_cpu / run.total("events"), "lag_p99": run.lag_p99, "unresolved": run.unresolved,
        "loop_lag_max": run.manifest["workers"][0]["loop_lag_max"],
        "failed": sum(row["outcome"] not in {"complete", "ended_by_us"} for row in run.rows),
    }  # fmt: skip
