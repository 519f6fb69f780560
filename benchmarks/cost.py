"""CPU per token of `probe run`, with everything recorded, compared with a minimal C reader of the same bytes.

Each figure is the CPU difference between a long and a short run, divided by the difference in tokens, so that start and
end cancel out.
"""

import os
import resource
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import native, probe_run
from benchmarks.turns import FEWEST_TURNS, mean_of_pairs


def cost(
    streams: int, *, tokens: int = 100, rate: float = 50, tls: bool = False, lengths: tuple[float, float]
) -> dict[str, Any]:
    """Measure the CPU per token of `probe run` and of the C reader."""
    with native.server("--rate", str(rate), tls=tls) as server:
        bare = native.run_reader(server, streams, min(10, lengths[1] - lengths[0]), tokens)
        short, long = (probe_run.run(server, probe_run.Load(streams, seconds, tokens)) for seconds in lengths)
    probe_us = _us_per_token(short, long, lambda run: run.worker_cpu)
    return {
        "streams": streams, "tokens": tokens, "rate": rate, "tls": tls, "seconds": lengths[1],
        "us": probe_us, "bare_us": bare["cpu_us_per_token"], "ratio": probe_us / bare["cpu_us_per_token"],
        "lag_p99": long.lag_p99, "path": long.reading_path,
    }  # fmt: skip


def _us_per_token(short: probe_run.Run, long: probe_run.Run, cpu: Callable[[probe_run.Run], float]) -> float:
    """Return the CPU microseconds per token between two runs."""
    return 1e6 * (cpu(long) - cpu(short)) / (long.total("tokens_out") - short.total("tokens_out"))


PAUSE_US = 8000
"""of the batching C reader: as long as `probe` pauses at most"""


@dataclass(frozen=True)
class Case:
    """A load that is measured in turn: streams, tokens per reply, the way to the server, seconds of think time."""

    streams: int
    tokens: int = 100
    wire: str = "plain"
    """`plain`, `TLS`, `IPv6`, or `slow`: another network namespace"""
    think: float = 0.0


@contextmanager
def _server(wire: str) -> Iterator[native.Server]:
    arguments = ("--rate", "50", "--jitter", "1")
    if wire == "slow":
        with native.other_machine() as (name, host), native.server(*arguments, host=host, namespace=name) as server:
            yield server
    else:
        host = "::1" if wire == "IPv6" else "127.0.0.1"
        with native.server(*arguments, tls=wire == "TLS", host=host) as server:
            yield server


CLOSE_ENOUGH = 0.1
"""relative half width of a ratio's interval at which no more turns are taken"""
PYTHON_TURNS = FEWEST_TURNS
"""turns in which the reading by Python takes part, which has no target"""


def by_pairs(most: int) -> list[dict[str, Any]]:
    """Measure the C reader, the batching one, `probe` with its C extension and without, in turn.

    Every other turn in reverse order, until the ratio to each reader is known to CLOSE_ENOUGH, but at most so many
    turns. The server delays each reply by up to one gap more, so that the streams' tokens are not in step.
    """
    tls = [Case(100, wire="TLS")] if native.certificate() else []
    return [_turns(case, most) for case in (Case(100), Case(400), Case(100, tokens=400), *tls)]


def by_network(most: int) -> list[dict[str, Any]]:
    """Measure the same over IPv6, over a slow network (root only), and for users who think between replies."""
    slow = [Case(100, wire="slow")] if not os.geteuid() else []
    return [_turns(case, most) for case in (Case(100, wire="IPv6"), *slow, Case(32, think=4.0))]


def _turns(case: Case, most: int) -> dict[str, Any]:
    readers = [] if case.think else ["reader", "batching"]  # these don't think
    arms: dict[str, list[float]] = {arm: [] for arm in (*readers, "native", "python")}
    unresolved, paths = {"native": 0.0, "python": 0.0}, {}
    lengths = (3, 9) if case.tokens == 100 and not case.think else (10, 20)
    with _server(case.wire) as server:

        def measured(arm: str) -> float:
            if arm in readers:
                pause = PAUSE_US if arm == "batching" else 0
                bare = native.run_reader(server, case.streams, lengths[1] - lengths[0], case.tokens, pause)
                return float(bare["cpu_us_per_token"])
            short, long = (
                probe_run.run(
                    server,
                    probe_run.Load(case.streams, seconds, case.tokens),
                    native=arm == "native",
                    think=case.think,
                )
                for seconds in lengths
            )
            unresolved[arm], paths[arm] = max(unresolved[arm], long.unresolved), long.reading_path
            return _us_per_token(short, long, lambda run: run.worker_cpu)

        for turn in range(most):
            taking_part = [arm for arm in arms if arm != "python" or turn < PYTHON_TURNS or not readers]
            for arm in reversed(taking_part) if turn % 2 else taking_part:
                arms[arm].append(measured(arm))
            against = readers or ["python"]
            if all(mean_of_pairs(arms["native"], arms[other]).half_width <= CLOSE_ENOUGH for other in against):
                break
    return {**asdict(case), "us": arms, "unresolved": unresolved, "paths": paths}


SHAPES: dict[str, list[dict[str, Any]]] = {
    "streams": [{"streams": n, "rate": 5000 / n, "lengths": (9, 21)} for n in (50, 200, 400)],
    "length of the run": [{"streams": 100, "lengths": (4, seconds)} for seconds in (12, 40)],
    "tokens a reply": [{"streams": 100, "tokens": tokens, "lengths": (9, 21)} for tokens in (50, 200, 400)],
}
"""what grows, and the arguments of `cost` from the smallest to the largest; always 5,000 tokens/s

A reply takes 1 to 8 s; each run is long enough for several.
"""


def by_shape(turns: int) -> dict[str, list[list[dict[str, Any]]]]:
    """Measure in turn whether tokens cost more with more streams, longer runs or longer replies.

    Returns the turns of each of SHAPES.
    """
    by_turn = [{what: [cost(**case) for case in cases] for what, cases in SHAPES.items()} for _ in range(turns)]
    return {what: [list(case) for case in zip(*(turn[what] for turn in by_turn), strict=True)] for what in SHAPES}


def by_stage() -> dict[str, Any]:
    """Measure the CPU of each stage at 100 streams, in microseconds per token."""
    with native.server() as server:
        bare = native.run_reader(server, 100, 10, 100)
        spent = probe_run.stages(server, probe_run.Load(100, 25))
    us_per_token = 1e6 / spent["tokens"]
    return {
        "stages": {stage: seconds * us_per_token for stage, seconds in spent["seconds"].items()},
        "cpu": {
            name: {kind: seconds * us_per_token for kind, seconds in usage.items()}
            for name, usage in spent["cpu"].items()
        },
        "bare_us": bare["cpu_us_per_token"],
        "path": spent["path"],
    }


FEW_STREAMS, MANY_STREAMS = 20, 200
"""whose runs are compared: at 100 tokens of 50 per second, 9 and 90 replies per second"""


def by_reply(turns: int) -> dict[str, Any]:
    """Measure what a finished reply costs the main thread: runs of few streams and of many, in turn, then its stages.

    Between the two, what a second costs without any reply cancels out. Only runs after their warm-up count.
    """
    with native.server("--rate", "50", "--jitter", "1") as server:
        pairs = []
        for turn in range(turns):
            both = {}
            for streams in (FEW_STREAMS, MANY_STREAMS)[:: -1 if turn % 2 else 1]:
                spent = probe_run.stages(server, probe_run.Load(streams, 12), whole=True)
                both[streams] = (spent["cpu"]["main"]["all"], spent["replies"], spent["lasted"])
            pairs.append(_of_reply(both[FEW_STREAMS], both[MANY_STREAMS]))
        spent = probe_run.stages(server, probe_run.Load(MANY_STREAMS, 12))
    us_per_reply = 1e6 / spent["replies"]
    return {
        "turns": pairs,
        "stages": {stage: seconds * us_per_reply for stage, seconds in spent["seconds"].items()},
        "timed_us": spent["cpu"]["main"]["all"] * us_per_reply,
        "path": spent["path"],
    }


def _of_reply(few: tuple[float, int, float], many: tuple[float, int, float]) -> dict[str, float]:
    """Return the cost of a reply and of a second without any, from CPU seconds, replies and seconds of two runs."""
    (few_cpu, few_replies, few_seconds), (cpu, replies, seconds) = few, many
    a_few, a_many = few_cpu / few_seconds, cpu / seconds
    each = (a_many - a_few) / (replies / seconds - few_replies / few_seconds)
    return {
        "us": 1e6 * each,
        "all_us": 1e6 * cpu / replies,
        "second_us": 1e6 * (a_few - each * few_replies / few_seconds),
        "replies_a_second": replies / seconds,
    }


def by_workers(turns: int) -> list[list[dict[str, Any]]]:
    """Measure CPU per token of workers and master, with one worker and with two, in turn; return the turns of each."""
    by_turn = [[_with_workers(count) for count in (1, 2)] for _ in range(turns)]
    return [list(of_count) for of_count in zip(*by_turn, strict=True)]


def _with_workers(count: int) -> dict[str, Any]:
    core = ",".join((native.CLIENT_CORE, native.SERVER_CORE))
    with native.server() as server:
        short, long = (
            probe_run.run(server, probe_run.Load(200 * count, seconds), "--processes", str(count), core=core)
            for seconds in (4, 12)
        )
    seconds = long.manifest["duration"] - short.manifest["duration"]
    master = (long.process_cpu - long.worker_cpu) - (short.process_cpu - short.worker_cpu)
    return {
        "workers": count, "streams": 200 * count, "path": long.reading_path,
        "us": _us_per_token(short, long, lambda run: run.worker_cpu),
        "master_us": _us_per_token(short, long, lambda run: run.process_cpu - run.worker_cpu),
        "master_share_of_a_core": master / seconds / count,
    }  # fmt: skip


_OTHER_FILES = 200
"""that a load generator or the server may have open besides its connections"""
_TOKENS_A_SECOND = 40_000


_QUICKLY = 1000.0
"""streams opened per second"""


def many_open(streams: int) -> list[dict[str, Any]]:
    """Open many streams in one worker, with 40,000 tokens/s once all are open: quickly, and as evenly as replies end.

    If a process may not open so many files here, it is as many streams as it may. Replies are of 100 tokens, so that
    each stream ends one and begins another. Those that were opened quickly end as quickly, and nothing ends in between;
    opened over the time of a reply, 400 end every second.
    """
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    streams = streams if files == resource.RLIM_INFINITY else min(streams, files - _OTHER_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # of server and load generator, too
    took = 100 * streams / _TOKENS_A_SECOND
    return [_opened(streams, _QUICKLY, took, 75), _opened(streams, streams / took, took, round(took) + 45)]


def _opened(streams: int, per_second: float, reply_seconds: float, seconds: int) -> dict[str, Any]:
    spawning = streams / per_second
    with (
        native.many_ports() as namespace,
        native.server("--rate", str(_TOKENS_A_SECOND / streams), namespace=namespace) as server,
    ):
        load = probe_run.Load(streams, seconds)
        run = probe_run.run(server, load, "--drain", "0s", "-r", f"{per_second:g}", namespace=namespace)

    def rate(since: float, until: float) -> float | None:
        found = [n for second, n in run.tokens_by_second.items() if since <= second < until]
        return statistics.median(found) if found else None

    outcomes = [row["outcome"] for row in run.rows]
    return {
        "streams": streams, "opened_per_second": per_second, "most_open": server.totals["most_open"],
        "path": run.reading_path, "target_tokens_a_second": _TOKENS_A_SECOND,
        "tokens_a_second": rate(spawning + 3, reply_seconds - 1),
        "tokens_a_second_ending": rate(reply_seconds + 3, seconds - 3),
        "us": 1e6 * run.worker_cpu / run.total("events"), "lag_p99": run.lag_p99, "unresolved": run.unresolved,
        "loop_lag_max": run.manifest["workers"][0]["loop_lag_max"],
        "complete": outcomes.count("complete"),
        "failed": sum(outcome not in {"complete", "ended_by_us"} for outcome in outcomes),
    }  # fmt: skip
