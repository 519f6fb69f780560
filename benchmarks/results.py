"""Render RESULTS.md: every figure with its target, met or missed."""

import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import native
from benchmarks.cost import FEW_STREAMS, MANY_STREAMS
from benchmarks.turns import Mean, mean_of_pairs

TARGET_OUTSIDE_US, TARGET_OUTSIDE_US_NO_TIMESTAMPS = 10.0, 500.0
"""of the p99 of token times, beyond the server's write"""
TARGET_UNRESOLVED_CALM, TARGET_UNRESOLVED_BUSY = 0.01, 0.05
"""share of reads"""
TARGET_RATIO, TARGET_RATIO_LONG_REPLIES, LONG_REPLY_TOKENS = 1.4, 1.15, 400
"""of the CPU per token to a reader's, and with replies of so many tokens"""
TARGET_GROWTH, TARGET_GROWTH_WORKERS = 0.1, 0.05
"""of the CPU per token with the load, and with a second worker"""
TARGET_PEERS = {"vllm bench serve": 1 / 2, "GuideLLM": 1 / 12, "AIPerf": 1 / 12}
"""of `probe`'s CPU per token to theirs"""
TARGET_REPLY_US = 500.0
"""of the main thread, for a finished reply"""
TARGET_START_S = 2.0
TARGET_OPEN_STREAMS = 20_000
TARGET_REPORTS = {10**6: (10.0, 800.0), 10**7: (120.0, 2500.0)}
"""seconds and megabytes by the number of replies"""
TARGET_PAGE_BYTES = 3e6
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


def _median(turns: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(turn[key] for turn in turns)


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


def _accuracy(results: list[list[dict[str, Any]]]) -> str:
    header = ("streams", "wire", "machine", "times", "read by", "p50", "p99", "max", "outside the write, p99",
              "the same, alone in a read", "write duration, p99", "TTFT error p50", "TTFT error p99",
              "unresolved reads", "receive lag p99", "target: outside the write, unresolved",
              "result, all tokens", "result, alone in a read")  # fmt: skip
    keys = ("p50", "p99", "max", "outside_p99", "outside_p99_alone", "write_p99", "ttft_p50", "ttft_p99")
    rows = []
    for turns in results:
        case = turns[0]
        load = "calm" if case["nice"] is None else f"busy, nice {case['nice']}"
        outside = TARGET_OUTSIDE_US if case["timestamps"] else TARGET_OUTSIDE_US_NO_TIMESTAMPS
        unresolved = TARGET_UNRESOLVED_CALM if case["nice"] is None else TARGET_UNRESOLVED_BUSY
        verdicts = []
        for key in ("outside_p99", "outside_p99_alone"):
            turns_met = sum(turn[key] <= outside and turn["unresolved"] <= unresolved for turn in turns)
            median_met = _median(turns, key) <= outside and _median(turns, "unresolved") <= unresolved
            verdicts.append(f"{_verdict(median_met)}, {turns_met} of {len(turns)}")
        lag = None if any(turn["lag_p99"] is None for turn in turns) else _median(turns, "lag_p99")
        rows.append((
            str(case["streams"]), "TLS" if case["tls"] else "plain", load,
            "kernel" if case["timestamps"] else "user space", case["path"],
            *(_us(_median(turns, key)) for key in keys), f"{_median(turns, 'unresolved'):.2%}", _seconds(lag),
            f"{outside:g} µs, {unresolved:.0%}", *verdicts,
        ))  # fmt: skip
    how = f"Each figure is the median of {_count(results[0])}; a result says how many of them met the target, too."
    return f"{table(header, rows)}\n\n{how}"


def _count(turns: Sequence[Any]) -> str:
    return "1 turn" if len(turns) == 1 else f"{len(turns)} turns"


_WIRES = {"slow": f"{native.ROUND_TRIP_MS} ms round trip, {native.LOSS_PERCENT} % loss"}


def _pairs(results: list[dict[str, Any]]) -> str:
    header = ("streams", "tokens a reply", "wire", "read by", "CPU per token", "to the C reader", "result",
              "to the batching reader", "result", "target", "to reading by Python", "unresolved reads",
              "turns")  # fmt: skip
    rows, widths = [], []
    for row in results:
        us, wire = row["us"], _WIRES.get(row["wire"], row["wire"])
        streams = f"{row['streams']}, {row['think']:g} s of thinking" if row["think"] else str(row["streams"])
        target = TARGET_RATIO_LONG_REPLIES if row["tokens"] >= LONG_REPLY_TOKENS else TARGET_RATIO
        for arm in ("native", "python"):
            to = {other: mean_of_pairs(us[arm], us[other]) for other in us if other != arm}
            aimed = arm == "native" and "reader" in to
            widths += [to[reader].half_width for reader in ("reader", "batching") if aimed]
            against = [
                (str(to[reader]), to[reader].verdict(target) if aimed else "–") if reader in to else ("–", "–")
                for reader in ("reader", "batching")
            ]
            rows.append((
                streams, str(row["tokens"]), wire, row["paths"][arm], _us(statistics.median(us[arm])), *against[0],
                *against[1], f"{target:g}" if aimed else "–", str(to.get("python", "–")),
                f"{row['unresolved'][arm]:.2%}", str(len(us[arm])),
            ))  # fmt: skip
    readers = "; ".join(
        f"{row['streams']} streams, {row['tokens']} tokens, {_WIRES.get(row['wire'], row['wire'])}: "
        f"{_us(statistics.median(row['us']['reader']))} and {_us(statistics.median(row['us']['batching']))}"
        for row in results
        if "reader" in row["us"]
    )
    width = f" The ratios to the readers are known to ±{max(widths):.0%} or better." if widths else ""
    bare = f" The C reader and the batching one took: {readers}." if readers else ""
    return f"{table(header, rows)}\n\n{_INTERVALS}{width}{bare}"


_INTERVALS = (
    "CPU per token is the median of the turns; a ratio is the geometric mean of the turns' ratios, with its 95 % "
    "interval in brackets. A target is *undecided* if it lies within the interval."
)


_REST = "everything else (greenlets, hub, Locust)"


def _stages(row: dict[str, Any]) -> str:
    thread, process = row["cpu"]["thread"], row["cpu"]["process"]
    stages = {**row["stages"], "the extension's thread: reading, matching events": thread["all"]}
    stages[_REST] = process["all"] - sum(stages.values())
    rows = [(stage, _us(us), f"{us / process['all']:.0%}") for stage, us in sorted(stages.items(), key=lambda s: -s[1])]
    intro = (
        f"100 streams of 50 tokens/s, 100 tokens per reply, read by: {row['path']}; after a warm-up of three seconds, "
        "measured with each thread's CPU clock, which itself takes some of it. The C reader took "
        f"{_us(row['bare_us'])} per token just before. Kernel time per token was {_us(thread['kernel'])} in the "
        f"extension's thread and {_us(process['kernel'] - thread['kernel'])} in the others."
    )
    return f"{intro}\n\n{table(('stage', 'CPU per token', 'share'), [*rows, ('all', _us(process['all']), '100%')])}"


REPLY_STAGES = {
    "head, token events and end of the reply": "the head compared with the last one; role and finish as one constant",
    "computing the row: rates, gaps, deadlines": "gaps, pace and deadlines in C, where they would exist twice",
    "taking what the thread read, as Python values": "fewer columns: times as an array instead of a list",
    "making the prompt": "a generator that is not seeded for each prompt: this would change the prompts of every seed",
    "notifying Locust and listeners": "Locust's own statistics switched off",
    "adding to window sketches": "the extension filling windows while it reads",
    "registering the socket": "sockets that stay registered between replies",
    "updating the live figures": "no live figures: with `--csv` and without a progress line there are none",
    "ending the exchange: last reads, segments": "no count of segments",
    "asking whether the connection is usable": "no check, and a failed reply for each connection closed meanwhile",
    "sending the request": "the kernel's own work",
    "writing tables to disk": "rows written by the extension",
}
"""what would remove a stage, of those that cost most"""


def _reply(found: dict[str, Any]) -> str:
    header = ("", "median", "range", f"target: at most {TARGET_REPLY_US:g} µs")
    turns = found["turns"]
    rows = [
        (what, _us(_median(turns, key)), " – ".join(_us(end(turn[key] for turn in turns)) for end in (min, max)), goal)
        for what, key, goal in (
            ("a finished reply", "us", decided([turn["us"] <= TARGET_REPLY_US for turn in turns])),
            ("a second without replies, with Locust's end of the run", "second_us", "–"),
            ("all, by the replies of the larger run", "all_us", "–"),
        )
    ]
    stages = {**found["stages"], _REST: found["timed_us"] - sum(found["stages"].values())}
    parts = [
        (stage, _us(us), f"{us / found['timed_us']:.0%}", REPLY_STAGES.get(stage, "–"))
        for stage, us in sorted(stages.items(), key=lambda stage: -stage[1])
    ]
    how = (
        f"CPU of the main thread in `probe run` of one process, {FEW_STREAMS} and {MANY_STREAMS} streams of 50 "
        f"tokens/s out of step, 100 tokens per reply, read by: {found['path']}. In each turn, both run for 12 s; "
        "the three after the first reply don't count. In the larger, "
        f"{_median(turns, 'replies_a_second'):.0f} replies ended per second. The result is met or missed only if it is "
        "in all turns."
    )
    of_stages = (
        "By stage, in one further run of the larger load, measured with the thread's CPU clock, which itself takes "
        f"some of the {_us(found['timed_us'])} per reply; what a second costs is included:"
    )
    said = table(("stage", "CPU per reply", "share", "what would remove it"), parts)
    return f"{how}\n\n{table(header, rows)}\n\n{_count(turns)}. {of_stages}\n\n{said}"


def decided(met: Sequence[bool]) -> str:
    """Return the verdict of turns that must agree."""
    return _verdict(met[0]) if len(set(met)) == 1 else f"undecided, met in {sum(met)} of {len(met)}"


def _shape(results: dict[str, list[list[dict[str, Any]]]]) -> str:
    header = ("what grows", "streams", "tokens per reply", "seconds", "read by", "CPU per token", "C reader", "ratio",
              "receive lag p99")  # fmt: skip
    rows = [
        (what, str(turns[0]["streams"]), str(turns[0]["tokens"]), f"{turns[0]['seconds']:g}", turns[0]["path"],
         *(_us(_median(turns, key)) for key in ("us", "bare_us")), f"{_median(turns, 'ratio'):.2f}",
         _seconds(_median(turns, "lag_p99"))) for what, cases in results.items() for turns in cases
    ]  # fmt: skip
    growth = {what: _growth(cases) for what, cases in results.items()}
    said = "; ".join(f"{what} {more}, {more.verdict(1 + TARGET_GROWTH)}" for what, more in growth.items())
    how = f"CPU per token of the largest to that of the smallest (target: at most {1 + TARGET_GROWTH:g})"
    rate = "All cases send 5,000 tokens/s in total: the more streams, the slower each."
    return f"{rate}\n\n{table(header, rows)}\n\n{_count(next(iter(results.values()))[0])}. {how}: {said}."


def _growth(cases: Sequence[Sequence[dict[str, Any]]]) -> Mean:
    """From the first case to the last."""
    return mean_of_pairs([turn["us"] for turn in cases[-1]], [turn["us"] for turn in cases[0]])


def _workers(results: list[list[dict[str, Any]]]) -> str:
    header = ("workers", "streams", "read by", "CPU per token, workers", "range", "CPU per token, master",
              "share of a core, master, per worker")  # fmt: skip
    rows = []
    for turns in results:
        us = sorted(turn["us"] for turn in turns)
        rows.append((
            str(turns[0]["workers"]), str(turns[0]["streams"]), turns[0]["path"], _us(statistics.median(us)),
            f"{us[0]:.1f} – {us[-1]:.1f} µs", _us(_median(turns, "master_us")),
            f"{_median(turns, 'master_share_of_a_core'):.1%}",
        ))  # fmt: skip
    growth, off = _growth(results), TARGET_GROWTH_WORKERS
    return (
        f"{table(header, rows)}\n\n{_count(results[0])}. A token with two workers costs {growth} times as much CPU as "
        f"with one (target: {1 - off:g} to {1 + off:g}): {growth.verdict(1 + off, 1 - off)}."
    )


def _open(rows: list[dict[str, Any]]) -> str:
    header = ("streams requested", "opened per second", "open at once", "read by", "tokens/s before any reply ends",
              "while replies end and begin", "CPU per token", "receive lag p99", "unresolved reads", "maximum loop lag",
              "complete replies", "failed replies", "target")  # fmt: skip
    lines = []
    for row in rows:
        speeds = [row[key] for key in ("tokens_a_second", "tokens_a_second_ending")]
        fast = min(speed for speed in speeds if speed is not None) >= 0.99 * row["target_tokens_a_second"]
        met = _verdict(fast and not row["failed"])
        few = row["most_open"] < TARGET_OPEN_STREAMS and met == "met"
        lines.append((
            str(row["streams"]), f"{row['opened_per_second']:.0f}", str(row["most_open"]), row["path"],
            *("–" if speed is None else f"{speed:.0f}" for speed in speeds), _us(row["us"]), _seconds(row["lag_p99"]),
            f"{row['unresolved']:.2%}", _seconds(row["loop_lag_max"]), str(row["complete"]), str(row["failed"]),
            f"{met} with as many streams as the file limit allows" if few else met,
        ))  # fmt: skip
    return table(header, lines)


def _start(found: dict[str, list[float]]) -> str:
    names = {"first_request_ns": "first request of any kind", "first_chat_ns": "first request for a reply"}
    rows = [
        (names[name], f"{statistics.median(seconds):.2f} s", f"{min(seconds):.2f} – {max(seconds):.2f} s",
         _verdict(statistics.median(seconds) < TARGET_START_S)) for name, seconds in found.items()
    ]  # fmt: skip
    starts = len(found["first_chat_ns"])
    how = f"{starts} starts of `probe run` with one user, on all cores, after one that does not count."
    return f"{table(('until', 'median', 'range', f'target: under {TARGET_START_S:g} s'), rows)}\n\n{how}"


def _report(results: list[dict[str, Any]]) -> str:
    rows = []
    for row in results:
        size, target, met = row["page_bytes"], TARGET_REPORTS.get(row["replies"]), "–"
        if target is not None:
            met = _verdict(
                row["seconds"] < target[0] and row["megabytes"] < target[1] and (size or 0) < TARGET_PAGE_BYTES
            )
        rows.append((
            str(row["replies"]), f"{row['seconds']:.1f}", f"{row['megabytes']:.0f} MB",
            "–" if size is None else f"{size / 1e6:.2f} MB", str(row["exit"]),
            "–" if target is None else f"{target[0]:g} s, {target[1]:g} MB, {TARGET_PAGE_BYTES / 1e6:g} MB", met,
        ))  # fmt: skip
    return table(("replies", "seconds", "memory", "page", "exit code", "target: under", "result"), rows)


def _poller(row: dict[str, Any]) -> str:
    page = f"A page of {row['page_bytes']} bytes ({row['rows']} values used)"
    return f"{page} takes {row['ms']:.2f} ms of CPU; it is read once per second."


def _peers(data: dict[str, Any]) -> str:
    figures = [(key, side) for key in ("ttft_p50", "ttft_p99", "gap_p50", "gap_p99") for side in ("reported", "true")]
    names = ("true" if side == "true" else key.replace("ttft", "TTFT").replace("_", " ") for key, side in figures)
    header = ("tool", "version", "CPU per token", "`probe` to it", "target", "result", *names)
    rows = []
    for tool in data["tools"]:
        last = tool["last"]
        to, target = mean_of_pairs(tool["probe_us"], tool["us"]), TARGET_PEERS.get(tool["name"])
        goal = ("–", "–") if target is None else (f"{target:.3g}", to.verdict(target))
        shown = [_ms(last[side][key]) for key, side in figures]
        rows.append((tool["name"], tool["version"], _us(statistics.median(tool["us"])), str(to), *goal, *shown))
    own = [us for tool in data["tools"] for us in tool["probe_us"]]
    last = data["probe"]
    shown = [_ms(last[side][key]) for key, side in figures]
    rows.insert(0, ("probe run", "this", _us(statistics.median(own)), "1", "–", "–", *shown))
    turns = ", ".join(f"{tool['name']} {len(tool['us'])}" for tool in data["tools"])
    left_out = "".join(f"\n- {name} could not be run: {reason}" for name, reason in data["left_out"].items())
    how = f"Turns: {turns}. {_INTERVALS}"
    return f"{_PEERS_LOAD}\n\n{table(header, rows)}\n\n{how}\n{left_out}".strip()


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} ms"


_PEERS_LOAD = (
    "100 streams of 50 tokens/s, 100 tokens per reply; `probe` and the other tool in turn. Each percentile reported "
    "by a tool, of its last run, is followed by the true value from the server's record of the same run. CPU covers "
    "all processes of the tool and is the difference between a short and a long run. *Gap* is what each tool calls "
    "inter-token latency; GuideLLM, AIPerf and genai-bench record one mean per reply, so theirs are percentiles of "
    "replies. inference-perf asks for 30 tokens where no data set can be downloaded; its gaps are of its "
    "tokenizer's tokens, which are not this server's."
)


_SECTIONS = {
    "accuracy": ("Timing accuracy", _accuracy),
    "pairs": ("CPU per token with and without the C extension, measured in turn", _pairs),
    "networks": ("CPU per token over other networks, and with think time, measured in turn", _pairs),
    "stages": ("CPU per token by stage", _stages),
    "reply": ("A reply's own cost", _reply),
    "shape": ("Scaling with streams and lengths", _shape),
    "workers": ("One worker and two, and the master", _workers),
    "open": ("Many open streams in one worker", _open),
    "start": ("From the start to the first request", _start),
    "report": ("Generating the report", _report),
    "large-report": ("Generating the report of ten million replies", _report),
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
