"""The record as a page: every figure beside its target, those that fall short too."""

import platform
import statistics
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.ours import READING

TARGET_CALM, TARGET_BUSY, TARGET_UNSTAMPED, TARGET_RATIO = 20.0, 50.0, 500.0, 1.7
"""microseconds; the ratio is to the C reader"""
NOTES = Path(__file__).with_name("notes.md")


def now() -> str:
    """To the minute."""
    return datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


def machine() -> str:
    """Processor, cores, kernel, versions."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    packages = " ".join(f"{name} {version(name)}" for name in ("probe-ext", "locust", "gevent"))
    core = f"{models[0] if models else platform.machine()}, {len(models)} cores"
    return f"{core}, Linux {platform.release()}, Python {platform.python_version()}, {packages}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _us(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f} µs" if value < 1000 else f"{value / 1000:.2f} ms"


def _seconds(value: float | None) -> str:
    return "–" if value is None else _us(1e6 * value)


def _accuracy(found: list[dict[str, Any]]) -> str:
    header = ("streams", "wire", "machine", "times", "p50", "p99", "max", "beyond the write, p99", "the write, p99",
              "TTFT p50", "TTFT p99", "unresolved reads", "receive lag p99", "target of p99",
              "p99", "p99 beyond the write")  # fmt: skip
    keys = ("p50", "p99", "most", "beyond_p99", "write_p99", "ttft_p50", "ttft_p99")
    rows = []
    for one in found:
        busy = "calm" if one["nice"] is None else f"busy, nice {one['nice']}"
        target = TARGET_BUSY if one["nice"] is not None else TARGET_CALM
        target, most = (target if one["stamps"] else TARGET_UNSTAMPED), 0.01 if one["nice"] is None else 0.1
        met = [one[key] <= target and one["unresolved"] <= most for key in ("p99", "beyond_p99")]
        rows.append((
            str(one["streams"]), "TLS" if one["tls"] else "plain", busy, "kernel" if one["stamps"] else "own reads",
            *(_us(one[key]) for key in keys), f"{one['unresolved']:.2%}",
            _seconds(one["lag_p99"]), _us(target), *("met" if so else "missed" for so in met),
        ))  # fmt: skip
    return table(header, rows)


def _cost(found: list[dict[str, Any]]) -> str:
    header = (
        "streams",
        "wire",
        "CPU a token",
        "C reader",
        "ratio",
        "spread of the ratio",
        "unresolved",
        f"target {TARGET_RATIO}",
    )
    groups = defaultdict(list)
    for one in found:
        groups[one["streams"], one["tls"]].append(one)
    rows = []
    for (streams, tls), group in groups.items():
        ratios = sorted(one["ratio"] for one in group)
        mid, ours, bare = (statistics.median(one[key] for one in group) for key in ("ratio", "us", "bare_us"))
        rows.append((
            str(streams), "TLS" if tls else "plain", _us(ours), _us(bare), f"{mid:.2f}",
            f"{ratios[0]:.2f} – {ratios[-1]:.2f}", f"{max(one['unresolved'] for one in group):.2%}",
            "met" if mid <= TARGET_RATIO else "missed",
        ))  # fmt: skip
    return table(header, rows)


def _stages(one: dict[str, Any]) -> str:
    reads, rest = one["threads"]["thread that reads"], one["threads"]["main thread"]
    stages, reading = dict(one["stages"]), one["stages"][READING]
    stages["waking up for it"] = reads["cpu"] - reading
    stages["greenlets, the hub, Locust's loop, all else"] = rest["cpu"] - sum(one["stages"].values()) + reading
    whole = reads["cpu"] + rest["cpu"]
    rows = [(stage, _us(us), f"{us / whole:.0%}") for stage, us in sorted(stages.items(), key=lambda s: -s[1])]
    what = (
        "100 streams of 50 tokens/s, 100 tokens a reply, after three seconds; by the CPU clock of each thread. The C "
        f"reader took {_us(one['bare_us'])} a token beside it. Of the thread that reads, {_us(reads['kernel'])} a "
        f"token are the kernel's; of the main thread, {_us(rest['kernel'])}."
    )
    return f"{what}\n\n{table(('what it buys', 'CPU a token', 'share'), [*rows, ('all', _us(whole), '100%')])}"


def _shape(found: list[dict[str, Any]]) -> str:
    header = ("streams", "tokens a reply", "seconds", "CPU a token", "C reader", "ratio", "receive lag p99")
    return table(header, [
        (str(one["streams"]), str(one["tokens"]), f"{one['seconds']:g}", _us(one["us"]), _us(one["bare_us"]),
         f"{one['ratio']:.2f}", _seconds(one["lag_p99"])) for one in found
    ])  # fmt: skip


def _workers(found: list[dict[str, Any]]) -> str:
    header = ("workers", "streams", "CPU a token, workers", "CPU a token, master", "of a core, master, each worker")
    rows = [(str(one["workers"]), str(one["streams"]), _us(one["us"]), _us(one["master_us"]),
             f"{one['master_share_of_a_core']:.1%}") for one in found]  # fmt: skip
    growth = found[1]["us"] / found[0]["us"] - 1
    return table(header, rows) + f"\n\nTwo workers cost {growth:+.0%} a token against one (target: within 10 %)."


def _open(one: dict[str, Any]) -> str:
    header = (
        "streams asked",
        "open at once",
        "tokens/s, all there",
        "CPU a token",
        "receive lag p99",
        "unresolved",
        "loop lag, most",
        "failed",
    )
    return table(header, [(
        str(one["streams"]), str(one["most_open"]), f"{one['tokens_a_second']:.0f}", _us(one["us"]),
        _seconds(one["lag_p99"]), f"{one['unresolved']:.2%}", _seconds(one["loop_lag_max"]), str(one["failed"]),
    )])  # fmt: skip


def _report(found: list[dict[str, Any]]) -> str:
    return table(("replies", "seconds", "memory", "page", "exit code"), [
        (str(one["replies"]), f"{one['seconds']:.1f}", f"{one['megabytes']:.0f} MB",
         "–" if one["page_bytes"] is None else f"{one['page_bytes'] / 1e6:.2f} MB", str(one["exit"])) for one in found
    ])  # fmt: skip


def _poller(one: dict[str, Any]) -> str:
    page = f"A page of {one['page_bytes']} bytes ({one['rows']} figures kept)"
    return f"{page} takes {one['ms']:.2f} ms of CPU, once a second."


def _peers(found: dict[str, Any]) -> str:
    header = (
        "tool",
        "version",
        "CPU a token",
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
    for one in found["rows"]:
        pairs = [
            _ms(one[side][key]) for key in ("ttft_p50", "ttft_p99", "gap_p50", "gap_p99") for side in ("said", "true")
        ]
        rows.append((one["name"], one["version"], _us(one["us"]), *pairs))
    left_out = "".join(f"\n- {name}: could not be run: {why}" for name, why in found["left_out"].items())
    return f"{_PEERS_LOAD}\n\n{table(header, rows)}\n{left_out}".strip()


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} ms"


_PEERS_LOAD = (
    "100 streams of 50 tokens/s, 100 tokens a reply. Each tool's own percentiles stand beside what the server knows of "
    "the same run. CPU is of all its processes, the difference between a short and a long run. *Gap* is what each "
    "calls inter-token latency; GuideLLM, AIPerf and genai-bench keep one mean a reply: theirs are of replies."
)


_PAGES = {
    "accuracy": ("How right a token's time is", _accuracy),
    "cost": ("What a token costs", _cost),
    "stages": ("What a token's CPU buys", _stages),
    "shape": ("Whether it grows", _shape),
    "workers": ("Two workers against one, and the master", _workers),
    "open": ("Ten thousand open streams in one worker", _open),
    "report": ("The report", _report),
    "poller": ("Reading the server's metrics", _poller),
    "peers": ("Beside its peers", _peers),
}


def page(kept: dict[str, Any]) -> str:
    """All parts that were measured, in a fixed order, then the notes."""
    text = ["# The ruler's record", "", NOTES.read_text().partition("\n---\n")[0].strip()]
    for name, (title, written) in _PAGES.items():
        if name in kept:
            how = f"`python -m benchmarks {name}`, {kept[name]['when']}; {kept[name]['machine']}."
            text += ["", f"## {title}", "", how, "", written(kept[name]["found"])]
    return "\n".join([*text, "", NOTES.read_text().partition("\n---\n")[2].strip(), ""])
