"""Render RESULTS.md: every figure with its target, met or missed."""

import platform
import statistics
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import native
from benchmarks.probe_run import READING

TARGET_CALM, TARGET_BUSY, TARGET_NO_TIMESTAMPS, TARGET_RATIO, TARGET_RATIO_NATIVE = 20.0, 50.0, 500.0, 1.7, 1.4
"""Microseconds; the ratio is to the C reader."""
NOTES = Path(__file__).with_name("notes.md")


def now() -> str:
    """Return the current time in UTC, to the minute."""
    return datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


def machine() -> str:
    """Return processor, cores, kernel and versions."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    packages = " ".join(f"{name} {version(name)}" for name in ("probe-ext", "locust", "gevent"))
    core = f"{models[0] if models else platform.machine()}, {len(models)} cores"
    return f"{core}, Linux {platform.release()}, Python {platform.python_version()}, {packages}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Render a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _us(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f} µs" if value < 1000 else f"{value / 1000:.2f} ms"


def _seconds(value: float | None) -> str:
    return "–" if value is None else _us(1e6 * value)


def _accuracy(results: list[dict[str, Any]]) -> str:
    header = ("streams", "wire", "machine", "times", "p50", "p99", "max", "outside the write, p99",
              "write duration, p99", "TTFT error p50", "TTFT error p99", "unresolved reads", "receive lag p99",
              "p99 target", "p99", "p99 outside the write")  # fmt: skip
    keys = ("p50", "p99", "max", "outside_p99", "write_p99", "ttft_p50", "ttft_p99")
    rows = []
    for row in results:
        calm = row["nice"] is None
        load = "calm" if calm else f"busy, nice {row['nice']}"
        times, target = "kernel", TARGET_CALM if calm else TARGET_BUSY
        if not row["timestamps"]:
            times, target = "user space", TARGET_NO_TIMESTAMPS
        max_unresolved = 0.01 if calm else 0.1
        met = [row[key] <= target and row["unresolved"] <= max_unresolved for key in ("p99", "outside_p99")]
        rows.append((
            str(row["streams"]), "TLS" if row["tls"] else "plain", load, times,
            *(_us(row[key]) for key in keys), f"{row['unresolved']:.2%}",
            _seconds(row["lag_p99"]), _us(target), *("met" if is_met else "missed" for is_met in met),
        ))  # fmt: skip
    return table(header, rows)


def _cost(results: list[dict[str, Any]]) -> str:
    header = (
        "streams",
        "wire",
        "CPU per token",
        "C reader",
        "to the C reader",
        "range",
        "unresolved reads",
        f"target {TARGET_RATIO}, to the C reader",
    )
    groups = defaultdict(list)
    for row in results:
        groups[row["streams"], row["tls"]].append(row)
    rows = []
    for (streams, tls), group in groups.items():
        ratios = sorted(row["ratio"] for row in group)
        median, probe_us, reader_us = (
            statistics.median(row[key] for row in group) for key in ("ratio", "us", "bare_us")
        )
        rows.append((
            str(streams), "TLS" if tls else "plain", _us(probe_us), _us(reader_us), f"{median:.2f}",
            f"{ratios[0]:.2f} – {ratios[-1]:.2f}", f"{max(row['unresolved'] for row in group):.2%}",
            "met" if median <= TARGET_RATIO else "missed",
        ))  # fmt: skip
    return table(header, rows)


_WIRES = {"slow": f"{native.ROUND_TRIP_MS} ms round trip, {native.LOSS_PERCENT} % loss"}


def _pairs(results: list[dict[str, Any]]) -> str:
    target = f"target {TARGET_RATIO_NATIVE}"
    header = ("streams", "tokens a reply", "wire", "read by", "CPU per token", "to the C reader", "quartiles",
              "to the batching reader", "to reading by Python", f"{target}, to the C reader",
              f"{target}, to the batching reader", "unresolved reads")  # fmt: skip
    rows = []
    for row in results:
        us, wire = row["us"], _WIRES.get(row["wire"], row["wire"])
        streams = f"{row['streams']}, {row['think']:g} s of thinking" if row["think"] else str(row["streams"])
        for arm in ("native", "python"):
            to = {other: [a / b for a, b in zip(us[arm], us[other], strict=True)] for other in us}
            middle = {other: statistics.median(ratios) for other, ratios in to.items()}
            low, _, high = statistics.quantiles(to["reader"], n=4) if "reader" in to else (None, None, None)
            goals = [_goal(middle.get(reader)) if arm == "native" else "–" for reader in ("reader", "batching")]
            rows.append((
                streams, str(row["tokens"]), wire, row["paths"][arm], _us(statistics.median(us[arm])),
                _ratio(middle.get("reader")), "–" if low is None else f"{low:.2f} – {high:.2f}",
                _ratio(middle.get("batching")), _ratio(middle["python"]), *goals, f"{row['unresolved'][arm]:.2%}",
            ))  # fmt: skip
    readers = "; ".join(
        f"{row['streams']} streams, {row['tokens']} tokens, {_WIRES.get(row['wire'], row['wire'])}: "
        f"{_us(statistics.median(row['us']['reader']))} and {_us(statistics.median(row['us']['batching']))}"
        for row in results
        if "reader" in row["us"]
    )
    bare = f" The C reader and the batching one took: {readers}." if readers else ""
    return f"{table(header, rows)}\n\n{len(results[0]['us']['native'])} turns.{bare}"


def _goal(ratio: float | None) -> str:
    return "–" if ratio is None else "met" if ratio <= TARGET_RATIO_NATIVE else "missed"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _stages(row: dict[str, Any]) -> str:
    reading_thread, main = row["threads"]["reading thread"], row["threads"]["main thread"]
    stages, reading = dict(row["stages"]), row["stages"][READING]
    stages["waking up to read"] = reading_thread["cpu"] - reading
    stages["everything else (greenlets, hub, Locust)"] = main["cpu"] - sum(row["stages"].values()) + reading
    total = reading_thread["cpu"] + main["cpu"]
    rows = [(stage, _us(us), f"{us / total:.0%}") for stage, us in sorted(stages.items(), key=lambda s: -s[1])]
    intro = (
        "100 streams of 50 tokens/s, 100 tokens per reply, after a warm-up of three seconds, measured with each "
        f"thread's CPU clock. The C reader took {_us(row['bare_us'])} per token at the same time. Kernel time per "
        f"token was {_us(reading_thread['kernel'])} in the reading thread and {_us(main['kernel'])} in the main thread."
    )
    return f"{intro}\n\n{table(('stage', 'CPU per token', 'share'), [*rows, ('all', _us(total), '100%')])}"


def _shape(results: list[dict[str, Any]]) -> str:
    header = ("streams", "tokens per reply", "seconds", "CPU per token", "C reader", "ratio", "receive lag p99")
    return table(header, [
        (str(row["streams"]), str(row["tokens"]), f"{row['seconds']:g}", _us(row["us"]), _us(row["bare_us"]),
         f"{row['ratio']:.2f}", _seconds(row["lag_p99"])) for row in results
    ])  # fmt: skip


def _workers(results: list[dict[str, Any]]) -> str:
    header = (
        "workers",
        "streams",
        "CPU per token, workers",
        "CPU per token, master",
        "share of a core, master, per worker",
    )
    rows = [(str(row["workers"]), str(row["streams"]), _us(row["us"]), _us(row["master_us"]),
             f"{row['master_share_of_a_core']:.1%}") for row in results]  # fmt: skip
    growth = results[1]["us"] / results[0]["us"] - 1
    return (
        table(header, rows) + f"\n\nWith two workers, the CPU per token changes by {growth:+.0%} (target: within 10 %)."
    )


def _open(row: dict[str, Any]) -> str:
    header = (
        "streams requested",
        "open at once",
        "tokens/s with all open",
        "CPU per token",
        "receive lag p99",
        "unresolved reads",
        "maximum loop lag",
        "failed replies",
    )
    return table(header, [(
        str(row["streams"]), str(row["most_open"]), f"{row['tokens_a_second']:.0f}", _us(row["us"]),
        _seconds(row["lag_p99"]), f"{row['unresolved']:.2%}", _seconds(row["loop_lag_max"]), str(row["failed"]),
    )])  # fmt: skip


def _report(results: list[dict[str, Any]]) -> str:
    return table(("replies", "seconds", "memory", "page", "exit code"), [
        (str(row["replies"]), f"{row['seconds']:.1f}", f"{row['megabytes']:.0f} MB",
         "–" if row["page_bytes"] is None else f"{row['page_bytes'] / 1e6:.2f} MB", str(row["exit"])) for row in results
    ])  # fmt: skip


def _poller(row: dict[str, Any]) -> str:
    page = f"A page of {row['page_bytes']} bytes ({row['rows']} values used)"
    return f"{page} takes {row['ms']:.2f} ms of CPU; it is read once per second."


def _peers(data: dict[str, Any]) -> str:
    header = (
        "tool",
        "version",
        "CPU per token",
        "TTFT p50",
        "true",
        "TTFT p99",
        "true",
        "gap p50",
        "true",
        "gap p99",
        "true",
    )
    rows = []
    for row in data["rows"]:
        pairs = [
            _ms(row[side][key])
            for key in ("ttft_p50", "ttft_p99", "gap_p50", "gap_p99")
            for side in ("reported", "true")
        ]
        rows.append((row["name"], row["version"], _us(row["us"]), *pairs))
    left_out = "".join(f"\n- {name} could not be run: {reason}" for name, reason in data["left_out"].items())
    return f"{_PEERS_LOAD}\n\n{table(header, rows)}\n{left_out}".strip()


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} ms"


_PEERS_LOAD = (
    "100 streams of 50 tokens/s, 100 tokens per reply. Each percentile reported by a tool is followed by the true "
    "value from the server's record of the same run. CPU covers all processes of the tool and is the difference "
    "between a short and a long run. *Gap* is what each tool calls inter-token latency; GuideLLM, AIPerf and "
    "genai-bench record one mean per reply, so theirs are percentiles of replies. inference-perf asks for 30 tokens "
    "where no data set can be downloaded; its gaps are of its tokenizer's tokens, which are not this server's."
)


_SECTIONS = {
    "accuracy": ("Timing accuracy", _accuracy),
    "cost": ("CPU per token", _cost),
    "pairs": ("CPU per token with and without the C extension, measured in turn", _pairs),
    "networks": ("CPU per token over other networks, and with think time, measured in turn", _pairs),
    "stages": ("CPU per token by stage, read by Python", _stages),
    "shape": ("Scaling with streams and lengths", _shape),
    "workers": ("One worker and two, and the master", _workers),
    "open": ("Ten thousand open streams in one worker", _open),
    "report": ("Generating the report", _report),
    "poller": ("Reading the server's metrics", _poller),
    "peers": ("Compared with other tools", _peers),
}


def section(part: str, when: str, found: Any, note: str = "") -> str:
    """Return the section of a part: its command, time, machine, what was special about it, and the figures."""
    title, render = _SECTIONS[part]
    how = f"`python -m benchmarks {part}`, {when}; {machine()}.{f' {note}' if note else ''}"
    return f"{title}\n\n{how}\n\n{render(found)}"


def page(known: str, *measured: str) -> str:
    """Return the page with these sections anew; the others stay as they are in `known`, the texts come from NOTES."""
    introduction, _, notes = NOTES.read_text().partition("\n---\n")
    titles = [title for title, _ in _SECTIONS.values()]
    sections = {text.partition("\n")[0]: text.strip() for text in (*known.split("\n## "), *measured)}
    parts = [f"## {sections[title]}" for title in titles if title in sections]
    heading = "# Timing accuracy and cost of the load generator"
    return "\n\n".join([heading, introduction.strip(), *parts, notes.strip()]) + "\n"
