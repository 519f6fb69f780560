"""The overview of all comparisons: what `probe compare` says, beside the published figures."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.seed_comparisons.measure import SERVERS, comparing, load_test, planning, simulator
from scripts.seed_comparisons.published import Published, SeedComparison

TEXTS = Path(__file__).with_name("texts")
Levels = Mapping[str, Sequence[Mapping[str, Any]]]
Compared = Mapping[str, Any]


def page(made: Sequence[SeedComparison], read: Mapping[str, Sequence[Any]]) -> str:
    """Return the whole page. `read`: by key, the levels' figures and the `compare.json`."""
    head, tail = ((TEXTS / name).read_text("utf-8") for name in ("head.md", "vllm.md"))
    return "\n".join([head.strip() + "\n", *(_section(one, *read[one.key]) for one in made), tail])


def _section(comparison: SeedComparison, levels: Levels, compared: Compared) -> str:
    text = (TEXTS / f"{comparison.key}.md").read_text("utf-8")
    links = f"[Page]({comparison.key}/compare.html), [summary]({comparison.key}/summary.md)."
    parts = [
        f"## {comparison.title}\n",
        f"**{compared['sentence']}** {links}\n",
        _capacities(compared),
        _against_published(comparison, levels),
        _cost(comparison, levels, compared),
        text.strip() + "\n",
        _commands(comparison),
    ]
    return "\n".join(part for part in parts if part)


def _commands(comparison: SeedComparison) -> str:
    """Return the commands for a shell in the folder of the servers' profiles."""
    lines = [f"{_shown(['sim', *simulator(server)])} --port 8000   # {server.name}" for server in comparison.servers]
    lines += [
        f"{_shown(['run', *load_test(comparison)])} --host http://127.0.0.1:8000 --out RUN   # one run for each server"
    ]
    lines += [_shown(comparing(comparison)), *([_shown(planning(comparison))] if comparison.people else [])]
    return "\n".join(["```", *lines, "```\n"])


def _shown(arguments: Sequence[str]) -> str:
    return "probe " + shlex.join(argument.removeprefix(f"{SERVERS}/") for argument in arguments)


def _capacities(compared: Compared) -> str:
    rows = []
    for set_up in compared["set_ups"]:
        served, interval = set_up["served_users"], set_up["interval"] or [None, None]
        high = "or more" if interval[1] is None else f"to {interval[1]}"
        rows.append([set_up["name"], _text(served, 0), f"{_text(interval[0], 0)} {high}"])
    return _table(["set-up", "people at once", "95 %"], rows)


def _against_published(comparison: SeedComparison, levels: Levels) -> str:
    rows = [
        [
            one.server,
            _name(one),
            _range(one),
            _text(measured(one, levels), 2 if one.figure == "slower" else 0),
            f"fitted: {one.fitted}" if one.fitted else "predicted",
        ]
        for one in comparison.published
    ]
    return _table(["set-up", "figure", "published", "measured", ""], rows) if rows else ""


def _name(one: Published) -> str:
    at = "" if one.users is None else f", {one.users} user{'s' * (one.users > 1)}"
    return {
        "per_user": f"tok/s of each reply{at}",
        "total": f"tok/s in all{at}",
        "slower": f"time of a reply, times that of 1 user{at}",
        "most": "most tok/s in all, at any number of users",
    }[one.figure]


def _range(one: Published) -> str:
    return f"{one.low:g}" if one.low == one.high else f"{one.low:g} to {one.high:g}"


def measured(one: Published, levels: Levels) -> float | None:
    """Return what was measured of a published figure."""
    own = {level["users"]: level for level in levels[one.server]}
    if one.figure == "most":
        return max(level["total_tokens_per_s"] or 0.0 for level in own.values())
    level = own[one.users or 0]
    if one.figure == "slower":
        return _seconds(level) / _seconds(own[1])
    found: float | None = level["decode_rate_p50" if one.figure == "per_user" else "total_tokens_per_s"]
    return found


def _seconds(level: Mapping[str, Any]) -> float:
    return float(level["ttft_p50"] + (level["tokens_out_p50"] - 1) / level["decode_rate_p50"])


def _cost(comparison: SeedComparison, levels: Levels, compared: Compared) -> str:
    """Return the price of each token/s, bought, and how many times that of the first set-up it is."""
    if not any(server.price for server in comparison.servers):
        return ""
    ratio = {(row["set_up"], row["users"]): row for row in compared["rows"]
             if row["quantity"] == "cost_per_million_tokens"}  # fmt: skip
    rows = []
    for users in comparison.levels:
        cells = [str(users)]
        for server in comparison.servers:
            rate = next(level["total_tokens_per_s"] for level in levels[server.name] if level["users"] == users)
            row = ratio.get((server.name, users))
            times = f" ({row['change']:.2f} ×, {_ends(row)})" if row and row["change"] else ""
            cells.append(f"${(server.price or 0) / rate:.2f}{times}" if rate else "–")
        rows.append(cells)
    return _table(["users", *(f"{server.name}, ${server.price:g}" for server in comparison.servers)], rows)


def _ends(row: Mapping[str, Any]) -> str:
    low, high = (_text(row[end], 2) for end in ("low", "high"))
    return f"{low} to {high}"


def _text(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruled = ["---", *["---:"] * (len(heads) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (heads, ruled, *rows))
