"""The page of the gauntlet, from `gauntlet.json`: one table, the window of the switched server, what was shortened."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probe_ext.verdict.phrasing import formats

_HEAD = (Path(__file__).with_name("page.md")).read_text(encoding="utf-8")

_SERVERS = {
    "tuned": "GPTQ, 512 sequences",
    "untuned": "FP8, 52 sequences",
    "switched": "untuned, then tuned after an outage",
    "throttling": "tuned, on a badly cooled card",
    "response cache": "tuned, behind a cache of whole replies",
    "first token only": "tuned, every reply ends after one token",
}


def page(data: Mapping[str, Any]) -> str:
    """Return the page as Markdown."""
    head = _HEAD.format(
        scale=data["scale"], rate=data["rate"], window=formats.span(data["window"]),
        outage=formats.span(data["outage"]), hold=formats.span(data["hold"]),
    )  # fmt: skip
    return "\n".join([head, "## What the load test says", "", *_runs(data), "", *_window(data), "", *_board(data), ""])


def _runs(data: Mapping[str, Any]) -> list[str]:
    rows = [
        "| server | served | failed | not sent | tokens/s | TTFT p50 | TTFT p95 | answer p95 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, arm in data["arms"].items():
        last = arm["moments"][-1]
        replies = arm["replies"]
        failed = replies - arm["outcomes"].get("complete", 0) - arm["outcomes"].get("ended_by_us", 0)
        cells = [
            formats.percent(arm["served_share"]), formats.percent(failed / replies), formats.count(arm["unsent"]),
            formats.rate(arm["total_tokens_per_s"]), formats.seconds(arm["ttft_p50"]),
            formats.seconds(arm["ttft_p95"]), formats.seconds(last["answer_p95"]),
        ]  # fmt: skip
        rows.append(f"| {name}: {_SERVERS[name]} | {' | '.join(cells)} |")
    said = [f"- **{name}**: {arm['sentence']}" for name, arm in data["arms"].items()]
    return [*rows, "", "The last column is that of the last window. In the words of each report:", "", *said]


def _window(data: Mapping[str, Any]) -> list[str]:
    """Show what the outage did to the window of the server that was switched."""
    arm = data["arms"]["switched"]
    lines = ["## How long the window stays poisoned", ""]
    for outage in arm["outages"]:
        until = "the end" if outage["until"] is None else formats.moment(outage["until"])
        clean = "" if outage["clean_at"] is None else f"; it was clean at {formats.moment(outage['clean_at'])}"
        lines.append(
            f"The server was down from {formats.moment(outage['since'])} to {until}. The worst window showed "
            f"**{formats.percent(outage['worst_share'])}** failed requests; requests that arrive evenly show "
            f"{formats.percent(outage['even_share'])}{clean}. It is more here, as the requests that waited in the "
            "overloaded server's queue failed together with those that came while it was down. The report saw 21 % for "
            "5 minutes in 15: its users waited for replies, and a failing attempt took longer than a served one, so "
            "fewer were made."
        )
    lines += ["", "| time | replies/s | failed | TTFT p95 | answer p95 |", "| ---: | ---: | ---: | ---: | ---: |"]
    for one in arm["moments"][::4]:
        cells = (
            formats.moment(one["t"]), formats.rate(one["complete_per_s"]), formats.percent(one["failed_share"]),
            formats.seconds(one["ttft_p95"]), formats.seconds(one["answer_p95"]),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _board(data: Mapping[str, Any]) -> list[str]:
    """Show the board's last state, by the short probes beside the load."""
    rows = [
        "| rank | server | requests/s | tokens/s | TTFT p95 | errors | signs |",
        "| ---: | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    arms = sorted(data["arms"].items(), key=lambda item: item[1]["scout"]["rank"])
    for name, arm in arms:
        scout = arm["scout"]
        found = scout["figures"]
        signs = "; ".join(sign["name"] for sign in scout["signs"]) or formats.DASH
        cells = (
            formats.rate(found["rps"]), formats.rate(found["tokens_per_s"]), formats.seconds(found["ttft_p95"]),
            formats.percent(found["error_rate"]), signs,
        )  # fmt: skip
        rows.append(f"| {scout['rank']} | {name} | {' | '.join(cells)} |")
    about = (
        "The last window of `probe scout --watch`, which asks each server 16 short questions every 30 s beside the "
        "load. It ranks by tokens per second, so the cache is first here as it was there; the signs say why."
    )
    return ["## The board", "", about, "", *rows]
