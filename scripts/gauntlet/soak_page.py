"""What the files of a soak say: counts, memory, CPU time, the outage in the window, the report's own time."""

import csv
import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from probe_ext.verdict.phrasing import formats
from scripts.hostile.memory import MIN_MINUTES_FOR_SLOPE, judge_memory, theil_sen
from scripts.swarm.soak import Sample

_PAGE = Path(__file__).with_name("soak.md").read_text(encoding="utf-8")
MAX_REPORT_S = 60.0
SETTLED_FROM = 0.55
"""Share of the run from which on memory and CPU time are judged: windows of rows can change for 31 minutes, the longest
time of a reply, and those of the outage, which ends after 35 of 120 minutes, are empty."""
SERVER = "server"
"""The simulated server's name in soak.csv. Its memory is shown, not judged: it follows its prefix cache."""
MAX_COST_GROWTH = 0.10
"""of a process's CPU time per minute, in an hour"""


def evaluate(run: Path) -> dict[str, Any]:
    """Return all figures of a finished soak, and a sentence for each fault."""
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    samples = settled(read_samples(run / "soak.csv"))
    counts = count(run, manifest)
    memory, faults = judge_memory([sample for sample in samples if sample[1] != SERVER])
    shown, _ = judge_memory([sample for sample in samples if sample[1] == SERVER])
    cost, dearer = judge_cost(samples)
    report = json.loads((run / "report_time.json").read_text(encoding="utf-8"))
    faults += dearer
    faults += [f"counts differ: {counts}"] * (not counts["equal"])
    faults += [f"the report took {report['wall_s']:.0f} s"] * (report["wall_s"] > MAX_REPORT_S)
    capacity = json.loads((run / "capacity.json").read_text(encoding="utf-8"))
    rolling = capacity["rolling"]
    return {
        "plan": json.loads((run / "soak_plan.json").read_text(encoding="utf-8")),
        "seconds": round(manifest["duration"]),
        "workers": len(manifest["workers"]),
        "counts": counts,
        "memory": dict(sorted({**memory, **shown}.items())),
        "cached": cached_blocks(
            run, manifest["started_unix"] + max((o["until"] or 0 for o in rolling["outages"]), default=0)
        ),
        "cost": cost,
        "report": report,
        "sentence": capacity["sentence"],
        "window": rolling["seconds"],
        "outages": rolling["outages"],
        "moments": rolling["moments"][:: max(1, len(rolling["moments"]) // 24)],
        "faults": faults,
    }


def settled(samples: list[Sample]) -> list[Sample]:
    """Return the samples of the judged part."""
    since = SETTLED_FROM * max(sample[0] for sample in samples)
    return [sample for sample in samples if sample[0] >= since]


def read_samples(file: Path) -> list[Sample]:
    """Return the samples of memory and CPU time."""
    with file.open(newline="", encoding="utf-8") as lines:
        return [
            (float(row["t"]), row["process"], float(row["rss_mib"]), float(row["cpu_seconds"]))
            for row in csv.DictReader(lines)
        ]


def count(run: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Compare what the server was asked with the rows, and these with what the workers say they started."""
    with (run / "requests.csv").open(newline="", encoding="utf-8") as file:
        rows = [(row["reply_id"], row["outcome"], row["sent"]) for row in csv.DictReader(file)]
    outcomes = Counter(outcome for _, outcome, _ in rows)
    unconnected = sum(not sent for _, _, sent in rows)  # no connection, or the load generator had no time
    generated, ended_by_restart = _generated(run / "server_truth.jsonl", manifest["started_unix"])
    asked = generated + _answered_5xx(run / "server_metrics.txt") - ended_by_restart
    started = sum(worker["started"] for worker in manifest["workers"])
    kept = len({reply for reply, _, _ in rows})
    return {
        "server": asked,
        "rows": len(rows),
        "not_connected": unconnected,
        "started": started,
        "outcomes": dict(outcomes.most_common()),
        "equal": asked == len(rows) - unconnected and started == len(rows) == kept,
    }


def _generated(truth: Path, since: float) -> tuple[int, int]:
    """Count the replies that the server began after the run had (earlier ones are the checks before it).

    The second count is of those that were not streamed and that the restart ended: they were answered with HTTP 500.
    """
    ahead, asked, ended = 0.0, 0, 0
    with truth.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["kind"] == "server":
                ahead = entry["epoch"] - entry["monotonic"]
            elif entry["kind"] == "reply" and entry["arrival"] + ahead >= since:
                asked += 1
                ended += entry["finish"] == "error" and not entry["stream"]
    return asked, ended


def _answered_5xx(metrics: Path) -> int:
    """Count the requests for replies that the server answered with such a status since its restart."""
    wanted = 'http_requests_total{handler="/v1/chat/completions",method="POST",status="5xx"}'
    lines = metrics.read_text(encoding="utf-8").splitlines()
    return sum(round(float(line.rpartition(" ")[2])) for line in lines if line.startswith(wanted))


def cached_blocks(run: Path, since: float) -> dict[str, int]:
    """Return how many blocks the server's prefix cache has filled since its restart (`since`, Unix), and has in all."""
    labels = (run / "server_metrics.txt").read_text(encoding="utf-8")
    size, blocks = (int(re.findall(rf'\b{name}="(\d+)"', labels)[0]) for name in ("block_size", "num_gpu_blocks"))
    ahead, kept = 0.0, 0
    with (run / "server_truth.jsonl").open(encoding="utf-8") as lines:
        for entry in map(json.loads, lines):
            if entry["kind"] == "server":
                ahead = entry["epoch"] - entry["monotonic"]
            elif entry["kind"] == "reply" and entry["arrival"] + ahead >= since:
                kept += (entry["prompt_tokens"] + entry["reply_tokens"]) // size - (entry["cached_tokens"] or 0) // size
    return {"kept": min(kept, blocks), "blocks": blocks}


def judge_cost(samples: list[Sample]) -> tuple[dict[str, dict[str, float | None]], list[str]]:
    """Return each process's CPU time per minute and its growth per hour, and a sentence for each that grew.

    The same robust slope as for memory. A process fails if the whole interval
    lies above 10 % of its median per hour: other work on the machine makes single minutes dearer, but no trend.
    """
    figures: dict[str, dict[str, float | None]] = {}
    faults = []
    for name in sorted({sample[1] for sample in samples}):
        points = _cost_per_minute(samples, name)
        if len(points) < 4:
            continue
        typical = median(seconds for _, seconds in points)
        figures[name] = {"seconds_per_minute": round(typical, 3), "minutes": len(points)}
        if len(points) >= MIN_MINUTES_FOR_SLOPE and typical > 0:
            slope, low, high = (each / typical for each in theil_sen(points))
            figures[name] |= {"per_hour": round(slope, 4), "low": round(low, 4), "high": round(high, 4)}
            if low > MAX_COST_GROWTH:
                faults.append(f"{name}: CPU time per minute grew by {slope:.0%} per hour")
    return figures, faults


def _cost_per_minute(samples: list[Sample], name: str) -> list[tuple[float, float]]:
    ends: dict[int, tuple[float, float]] = {}
    for t, who, _, cpu in samples:
        if who == name:
            ends[int(t // 60)] = (t, cpu)
    spent = defaultdict(float)
    order = sorted(ends)
    for before, after in itertools.pairwise(order):
        (t0, cpu0), (t1, cpu1) = ends[before], ends[after]
        spent[after] = 60 * (cpu1 - cpu0) / (t1 - t0)
    return [(minute / 60, seconds) for minute, seconds in sorted(spent.items())]


def soak_page(summary: Mapping[str, Any]) -> str:
    """Return the page as Markdown."""
    plan, counts, report = summary["plan"], summary["counts"], summary["report"]
    head = _PAGE.format(
        workers=summary["workers"], rate=plan["rate"], span=formats.span(60 * plan["minutes"]),
        result=_result(summary), server=formats.count(counts["server"]), rows=formats.count(counts["rows"]),
        unconnected=formats.count(counts["not_connected"]), started=formats.count(counts["started"]),
        kept=formats.count(summary["cached"]["kept"]), blocks=formats.count(summary["cached"]["blocks"]),
        report_wall=report["wall_s"], report_cpu=report["cpu_s"],
        outcomes=", ".join(f"{name} {formats.count(n)}" for name, n in counts["outcomes"].items()),
    )  # fmt: skip
    return "\n".join([head, *_processes(summary), "", *_outage(summary), ""])


def _result(summary: Mapping[str, Any]) -> str:
    if summary["faults"]:
        return "**Failed:** " + "; ".join(summary["faults"]) + "."
    if not all("per_hour" in each for kind in ("memory", "cost") for each in (summary[kind] or {"": {}}).values()):
        return "Every request was counted once. The run was too short to judge memory and CPU time."
    grew = "neither memory nor CPU time of the load generators grew beyond its limit"
    return f"Every request was counted once, {grew}, and the report took under a minute."


def _processes(summary: Mapping[str, Any]) -> list[str]:
    rows = [
        "| process | memory | growth per hour | CPU time | growth per hour |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, memory in summary["memory"].items():
        cost = summary["cost"][name]
        cells = (
            f"{memory['last']:.1f} MiB", _slope(memory, 1, "{:+.2f}", " MiB"),
            f"{cost['seconds_per_minute'] / 60:.1%} of a core", _slope(cost, 100, "{:+.1f}", " %"),
        )  # fmt: skip
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def _slope(figures: Mapping[str, float | None], factor: float, form: str, unit: str) -> str:
    if figures.get("per_hour") is None:
        return "too short to say"
    per_hour, low, high = (form.format(factor * (figures[key] or 0.0)) for key in ("per_hour", "low", "high"))
    return f"{per_hour}{unit} ({low} to {high})"


def _outage(summary: Mapping[str, Any]) -> list[str]:
    lines = ["## The outage in the window", ""]
    for one in summary["outages"]:
        if one["until"] is None or one["clean_at"] is None:
            continue
        since, until, clean = (formats.moment(one[key]) for key in ("since", "until", "clean_at"))
        lines.append(
            f"The server was down from {since} to {until}, in a window of {formats.span(summary['window'])}: the worst "
            f"window showed **{formats.percent(one['worst_share'])}** failed requests, and it was clean again at "
            f"{clean}. Requests that arrive evenly show {formats.percent(one['even_share'])}."
        )
    lines += ["", f"In the report's words: {summary['sentence']}", ""]
    lines += ["| time | requests | failed | not sent | TTFT p95 |", "| ---: | ---: | ---: | ---: | ---: |"]
    for one in summary["moments"]:
        cells = (
            formats.moment(one["t"]), formats.count(one["requests"]), formats.percent(one["failed_share"]),
            formats.count(one["unsent"]), formats.seconds(one["ttft_p95"]),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines
