"""Does a workload made from a recording behave like the users that were recorded?

For each seed, users of a random known workload talk to a simulated server through a tap. The workload made from that
recording then runs, with as many users, against the same server through another tap. `make study-tap` compares the two
recordings and writes `reports/study/tap.md`.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import fmean, median

from probe_ext.recording.recorded_request import RecordedRequest
from probe_ext.recording.recording_files import read_recording
from probe_ext.recording.sessions_of import pauses, sessions_of
from probe_ext.tap.derived.derived_workload import derive
from probe_ext.tap.derived.distribution_fits import distance_between
from probe_ext.tap.derived.workload_writer import write_workload
from probe_ext.workload.workload_file import Workload, read_workload
from scripts.tap.driven_users import drive
from scripts.tap.tapped import tapped
from tests.in_process_sim import running_sim

REPORT = Path(__file__).parents[2] / "reports" / "study" / "tap.md"
USERS, SECONDS, SPEED, MODEL = 16, 20.0, 4.0, "demo-1b"
DISTANCES = {"prompt": "prompt tokens", "reply": "reply tokens", "turns": "turns", "think": "think time"}
_CHANCE, _ALLOWED = 1.63, 0.05
"""a distance of two samples of n and m values may be √(1/n + 1/m) times the first (chance, in 1 % of cases), and the
second on top"""
DIFFERENCES = {
    "ttft": ("median TTFT, relative", 0.3, 0.1),
    "throughput": ("tokens per second, relative", 0.1, 0.05),
    "prefix": ("prefix cache's share", 0.06, 0.03),
}
"""name, largest difference of a seed, largest median of all seeds"""
_MIN_WITHIN = 0.9


@dataclass(frozen=True, slots=True)
class Compared:
    """Differences between the recorded traffic and that of the workload made from it."""

    seed: int
    requests: int
    kinds: int
    distances: dict[str, tuple[float, float]]
    """Kolmogorov–Smirnov distances with their bounds"""
    differences: dict[str, float]
    """of the workload's from the recorded traffic"""


def true_workload(seed: int) -> Workload:
    """Return a workload of two kinds drawn from the seed."""
    rng = Random(seed)  # noqa: S311 - a study must be repeatable
    team = {
        "name": "team",
        "share": rng.uniform(1, 4),
        "api": "chat",
        "system_prompt": {"tokens": rng.randint(50, 400)},
        "prompts": {"tokens": {"lognormal": {"median": rng.randint(20, 80), "p95": rng.randint(120, 300), "max": 400}}},
        "turns": {"uniform": [1, rng.randint(2, 5)]},
        "think_time": {"exponential": {"mean": rng.uniform(0.1, 0.4)}},
        "output_tokens": {"lognormal": {"mean": rng.randint(15, 40), "sd": rng.randint(5, 15), "max": 120}},
        "stream": rng.choice((0.5, 0.8, 1.0)),
    }
    batch = {
        "name": "batch",
        "share": 1,
        "api": rng.choice(("chat", "completion")),
        "prompts": {"tokens": {"uniform": [50, rng.randint(100, 500)]}},
        "output_tokens": rng.randint(5, 40),
        "stream": rng.choice((0.0, 1.0)),
    }
    return Workload.model_validate({"name": "true", "kinds": [team, batch]})


async def record(url: str, workload: Workload, folder: Path, seed: int, *, users: int, seconds: float) -> None:
    """Record users of a workload."""
    async with tapped(url, folder) as (tap, _):
        await drive(tap, workload, users, seconds, seed=seed, model=MODEL)


def recorded_and_made(
    seed: int, folder: Path, *, users: int, seconds: float
) -> tuple[list[RecordedRequest], list[RecordedRequest], int]:
    """Return the requests of a known workload, those of the workload made from them, and its number of kinds."""
    found = []
    workload, kinds = true_workload(seed), 0
    for name in ("recorded", "made"):
        with running_sim(speed=SPEED, seed=seed) as sim:
            asyncio.run(record(sim.url, workload, folder / name, seed, users=users, seconds=seconds))
        found.append(list(read_recording(folder / name).requests()))
        if name == "recorded":
            made = derive(found[0])
            assert made is not None  # noqa: S101
            kinds = len(made.kinds)
            write_workload(folder / "made.yaml", made, "How many of them?")
            workload, seed = read_workload(str(folder / "made.yaml")), seed + 1000
    return found[0], found[1], kinds


def compared(seed: int, folder: Path, *, users: int = USERS, seconds: float = SECONDS) -> Compared:
    """Return how the two recordings differ."""
    one, two, kinds = recorded_and_made(seed, folder, users=users, seconds=seconds)
    both = (one, two)
    values = {
        "prompt": [[each.input_tokens for each in lines if each.input_tokens] for lines in both],
        "reply": [[each.output_tokens for each in lines if each.output_tokens] for lines in both],
        "turns": [[len(session) for session in sessions_of(lines)] for lines in both],
        "think": [[pause for session in sessions_of(lines) for pause, _ in pauses(session)] for lines in both],
    }
    ttfts = [median(each.ttft for each in lines if each.ttft is not None) for lines in both]
    speeds = [_tokens_per_s(lines) for lines in both]
    differences = {
        "ttft": ttfts[1] / ttfts[0] - 1,
        "throughput": speeds[1] / speeds[0] - 1,
        "prefix": _prefix_share(two) - _prefix_share(one),
    }
    return Compared(seed, len(one), kinds, {name: _distance(*pair) for name, pair in values.items()}, differences)


def _distance(one: list[float], two: list[float]) -> tuple[float, float]:
    bound = _CHANCE * (1 / len(one) + 1 / len(two)) ** 0.5 + _ALLOWED
    return distance_between(one, two), bound


def _tokens_per_s(lines: list[RecordedRequest]) -> float:
    begin, end = min(each.at for each in lines), max(each.end for each in lines)
    return sum(each.output_tokens or 0 for each in lines) / (end - begin)


def _prefix_share(lines: list[RecordedRequest]) -> float:
    known = [each for each in lines if each.cached_tokens is not None and each.input_tokens]
    return sum(each.cached_tokens or 0 for each in known) / sum(each.input_tokens or 0 for each in known)


def page(rows: list[Compared]) -> str:
    """Return the report."""
    lines = [
        "# Recorded users and the workload made from them",
        "",
        f"For each of {len(rows)} seeds, {USERS} users of a random known workload (a chat with system prompt, turns",
        "and pauses, and a batch of single requests; some streamed) asked a simulated server through `probe tap` for",
        f"{SECONDS:g} s. `probe tap RECORDING --to FILE` made a workload of that, whose users then asked the same",
        "server. Both recordings are compared: Kolmogorov–Smirnov distances of lengths, turns and pauses; relative",
        "differences of median TTFT and of generated tokens per second; the difference between the shares of prompt",
        "tokens that the server found in its prefix cache. Two recordings of one and the same workload differ, too:",
        f"a distance may be {_CHANCE:g} · √(1/n + 1/m), which chance exceeds once in a hundred, plus {_ALLOWED:g}",
        "for the workload. Short recordings lose the longest pauses and the last turns of conversations, cut off by",
        "their end; the made workload therefore asks a little more often. Other work on the machine shows first in",
        "pauses and TTFT. `make study-tap` writes this page.",
        "",
        "| Kolmogorov–Smirnov distance | median | largest | within its bound |",
        "|---|---:|---:|---:|",
    ]
    for name, shown in DISTANCES.items():
        values = [row.distances[name][0] for row in rows]
        within = sum(distance <= bound for distance, bound in (row.distances[name] for row in rows))
        lines.append(f"| {shown} | {median(values):.3f} | {max(values):.3f} | {within} of {len(rows)} |")
    lines += ["", "| difference | median | bound | largest of a seed | within its bound |", "|---|---:|---:|---:|---:|"]
    for name, (shown, bound, of_median) in DIFFERENCES.items():
        values = [row.differences[name] for row in rows]
        within = sum(abs(value) <= bound for value in values)
        largest = max(values, key=abs)
        cells = f"{median(values):+.3f} | {of_median:g} | {largest:+.3f} | {within} of {len(rows)} (±{bound:g})"
        lines.append(f"| {shown} | {cells} |")
    columns = (*DISTANCES, *DIFFERENCES)
    lines += ["", "| seed | requests | kinds | " + " | ".join(columns) + " |", "|---:" * (len(columns) + 3) + "|"]
    for row in rows:
        distances = [f"{row.distances[name][0]:.3f}" for name in DISTANCES]
        cells = " | ".join([*distances, *(f"{row.differences[name]:+.3f}" for name in DIFFERENCES)])
        lines.append(f"| {row.seed} | {row.requests} | {row.kinds} | {cells} |")
    return "\n".join([*lines, ""])


def passed(rows: list[Compared]) -> bool:
    """Return whether each quantity is within its bound for at least nine of ten seeds, and its median is."""
    distances = [fmean(row.distances[name][0] <= row.distances[name][1] for row in rows) for name in DISTANCES]
    medians = True
    for name, (_, bound, of_median) in DIFFERENCES.items():
        values = [row.differences[name] for row in rows]
        distances.append(fmean(abs(value) <= bound for value in values))
        medians = medians and abs(median(values)) <= of_median
    return medians and min(distances) >= _MIN_WITHIN


def main() -> int:
    """Run the study; exit code 1 if a quantity is outside its bound for more than a tenth of the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    rows = []
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(compared(seed, Path(folder)))
        print(json.dumps(asdict(rows[-1])), flush=True)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(page(rows), encoding="utf-8")
    return 0 if passed(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
