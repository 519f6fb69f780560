"""The page of the gauntlet, from `gauntlet.json`: the report's figures, six servers, window, leaderboard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from probe_ext.verdict.phrasing import formats
from scripts.gauntlet.commands import CONNECTIONS, PROBE_EVERY_S, WORKLOAD, Load, all_shown
from scripts.gauntlet.published import Beside
from scripts.gauntlet.servers import ARMS

_HEAD, _NOT_FOLLOWED, _WAITING = (
    Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.md", "not_followed.md", "waiting.md")
)

_SERVERS = {
    "tuned": "GPTQ, 512 sequences",
    "untuned": "FP8, 52 sequences",
    "switched": "untuned, then tuned after an outage",
    "throttling": "tuned, on a badly cooled card",
    "response cache": "tuned, behind a cache of whole replies",
    "first token only": "tuned, but every reply ends after one token",
}


def page(data: Mapping[str, Any], beside: Sequence[Beside]) -> str:
    """Return the page as Markdown."""
    schedule, swarm = data["schedule"], data["swarm"]
    head = _HEAD.format(
        scale=data["scale"], rate=data["rate"], window=formats.span(data["window"]),
        outage=formats.span(data["outage"]), hold=formats.span(data["hold"]),
        requests=" to ".join(map(formats.count, (*schedule["requests"][:1], *schedule["requests"][1:][-1:]))),
        dues_apart=formats.seconds(schedule["dues_apart"]) if schedule["dues_apart"] else "the microsecond",
        workers=swarm["workers"], connections=CONNECTIONS, busiest=formats.percent(swarm["busiest"]),
    )  # fmt: skip
    parts = (
        _published(beside), _runs(data), _window(data), _waiting(data["hung"]), _board(data), _commands(data)
    )  # fmt: skip
    return "\n".join([head, *("\n".join([*part, ""]) for part in parts)])


def _published(beside: Sequence[Beside]) -> list[str]:
    about = (
        "*Fitted*: a parameter of the simulated server was chosen to reproduce this figure; the profiles say which. "
        "*Set*: a parameter of the load was. All other figures are *predicted*."
    )
    rows = [f"| {one.what} | {one.published} | {one.ours} | {one.kind} | {one.command} |" for one in beside]
    heads = ["| figure | report | here | | made by |", "| --- | --- | --- | --- | --- |"]
    return ["## The report's figures", "", about, "", *heads, *rows, "", _NOT_FOLLOWED.rstrip()]


def _runs(data: Mapping[str, Any]) -> list[str]:
    heads = ("server", "served", "failed", "late", "not sent", "tokens/s", "TTFT p50", "TTFT p95", "replies/s",
             "answer p50", "answer p95")  # fmt: skip
    rows = ["## What the load test says", "", f"| {' | '.join(heads)} |", f"| ---{' | ---:' * (len(heads) - 1)} |"]
    for name, arm in data["arms"].items():
        last = arm["moments"][-1]
        outcomes = arm["outcomes"]
        ended = sum(outcomes.values())
        failed = ended - outcomes.get("complete", 0) - outcomes.get("ended_by_us", 0)
        cells = [
            formats.percent(arm["served_share"]), formats.percent(failed / ended), formats.count(arm["delayed"]),
            formats.count(arm["unsent"]), formats.rate(arm["total_tokens_per_s"]), formats.seconds(arm["ttft_p50"]),
            formats.seconds(arm["ttft_p95"]), formats.rate(last["complete_per_s"]),
            formats.seconds(last["answer_p50"]), formats.seconds(last["answer_p95"]),
        ]  # fmt: skip
        rows.append(f"| {name}: {_SERVERS[name]} | {' | '.join(cells)} |")
    said = [
        f"- **{name}**: {arm['sentence']} {arm['diagnosis']['sentence']} Not passed: {_checks(arm)}."
        for name, arm in data["arms"].items()
    ]
    about = (
        "*Served*: the share of replies that kept the promises of the profile `chat`. *Late*: requests that waited for "
        "a free connection of the load generator. *Not sent*: requests that found none in time. The last three columns "
        "are about the last window.\n\nWhat each report says of its server, and which [checks](../../docs/checks.md) "
        "it did not pass. The other load and the excess tokens are the leaderboard's."
    )
    return [*rows, "", about, "", *said, "", _heat(data["arms"]["throttling"])]


def _checks(arm: Mapping[str, Any]) -> str:
    return ", ".join(f"`{check}`" for check in dict.fromkeys(arm["findings"])) or "none"


def _heat(arm: Mapping[str, Any]) -> str:
    level = arm["gpu"]["by_level"][0]
    return (
        f"The badly cooled card reached {level['temperature_max']:.0f} °C and ran at {level['clock']:.0f} MHz on "
        "average, so its replies take longer than those of the same card with good cooling."
    )


def _window(data: Mapping[str, Any]) -> list[str]:
    """Show what the outage did to the window of the server that was switched."""
    arm = data["arms"]["switched"]
    lines = ["## How long the window stays poisoned", ""]
    lines += [_one_outage(outage) for outage in arm["outages"]]
    lines += ["", "| time | replies/s | failed | TTFT p95 | answer p95 |", "| ---: | ---: | ---: | ---: | ---: |"]
    for one in arm["moments"][::4]:
        cells = (
            formats.moment(one["t"]), formats.rate(one["complete_per_s"]), formats.percent(one["failed_share"]),
            formats.seconds(one["ttft_p95"]), formats.seconds(one["answer_p95"]),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _one_outage(outage: Mapping[str, Any]) -> str:
    until = "the end" if outage["until"] is None else formats.moment(outage["until"])
    clean = (
        ""
        if outage["clean_at"] is None
        else f", and the window was clean again at {formats.moment(outage['clean_at'])}"
    )
    said = (
        f"The server was down from {formats.moment(outage['since'])} to {until}. The worst window showed "
        f"**{formats.percent(outage['worst_share'])}** failed requests{clean}. With requests at an even rate, it would "
        f"have shown {formats.percent(outage['even_share'])}."
    )
    if outage["worst_share"] <= outage["even_share"]:
        return said
    return said + (
        " It shows more because the requests in the overloaded server's queue failed as well, besides those that came "
        "while it was down."
    )


def _waiting(hung: Mapping[str, Any]) -> list[str]:
    outage = max(hung["outages"], key=lambda one: one["worst_share"], default=None)
    if outage is None:
        return []
    text = _WAITING.format(
        failed=formats.seconds(hung["failed_seconds"]), served=formats.seconds(hung["served_seconds"]),
        worst=formats.percent(outage["worst_share"]), computed=formats.percent(hung["computed_share"]),
        command=hung["command"],
    )  # fmt: skip
    return [text.rstrip()]


def _board(data: Mapping[str, Any]) -> list[str]:
    """Show the leaderboard's last state."""
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
        f"The last window of `probe scout --watch`, which sends each server 16 short questions, 8 at a time, every "
        f"{PROBE_EVERY_S:g} s beside the load. It ranks by tokens per second, so the response cache comes first, as in "
        "the contest; the signs say why."
    )
    return ["## The leaderboard", "", about, "", *rows]


def _commands(data: Mapping[str, Any]) -> list[str]:
    load = Load(data["rate"], data["hold"], data["window"])
    about = (
        "`make gauntlet` runs these commands, the load test and the leaderboard at the same time, with free ports "
        "instead of those shown. The figures of the other rows name their own commands."
    )
    workload = ["The workload:", "", "```yaml", WORKLOAD.read_text(encoding="utf-8").rstrip(), "```"]
    commands = ["```", *all_shown(ARMS, load, data["outage"]), "```"]
    return ["## How it was made", "", about, "", *commands, "", *workload]
