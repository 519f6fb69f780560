"""Render the page: published and measured figures side by side."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.seeds import workload
from scripts.seeds.article import LLAMA, QWEN
from scripts.seeds.compare import TOLERANCES, Compared
from scripts.seeds.run_trial import Result
from scripts.seeds.trials import SPEED, Trial
from scripts.seeds.workload import Workload

TEMPLATE = Path(__file__).with_name("page.md")
NAMES = {QWEN: "Qwen 2.5 7B AWQ", LLAMA: "Llama-2 7B GPTQ"}
QUANTITIES = {
    "total_tokens_per_s": "total tok/s",
    "decode_rate": "per-user tok/s",
    "decode_rate_mean": "decode tok/s mean",
    "total_time_mean": "total time mean",
    "ttft_mean": "TTFT mean",
    "ttft_p95": "TTFT p95",
    "cold_p50": "TTFT p50 unique",
    "warm_p50": "TTFT p50 shared",
    "ratio": "unique / shared",
    "kv_usage_max": "peak KV",
    "cold_hit_rate": "hit rate unique",
    "warm_hit_rate": "hit rate shared",
    "preemptions": "preemptions",
    "waiting_max": "waiting",
}
SECONDS = {"total_time_mean", "ttft_mean", "ttft_p95", "cold_p50", "warm_p50"}
SHARES = {"kv_usage_max", "cold_hit_rate", "warm_hit_rate"}
COUNTS = {"preemptions", "waiting_max"}


def page(results: Sequence[Result], cells: Sequence[Compared], provenance: str) -> str:
    """Return the page as Markdown."""
    cold_start = next(result for result in results if result.trial.table == "warm-up")
    return TEMPLATE.read_text(encoding="utf-8").format(
        speed=SPEED,
        summary=_summary(cells),
        misses=_misses(cells),
        tables="\n\n".join(_tables(cells, results)),
        workloads=_workloads(),
        fitted="\n".join(f"- {_cell(key)}: {what}" for key, what in workload.FITTED.items()),
        distinct=_distinct(results),
        mixed=_mixed(results),
        made=provenance,
        **_warm_up(cold_start),
    )


def _summary(cells: Sequence[Compared]) -> str:
    def line(name: str, of: list[Compared]) -> str:
        return f"| {name} | {len(of)} | {sum(cell.within for cell in of)} | {sum(not cell.within for cell in of)} |"

    fitted, predicted = [c for c in cells if c.fitted], [c for c in cells if not c.fitted]
    head = "| figures | number | within tolerance | outside |\n|---|---|---|---|"
    return "\n".join([head, line("fitted", fitted), line("predicted", predicted), line("all", list(cells))])


TABLES = {
    "baseline": """One user alone

Replies of 200 tokens; ten replies, after three to warm up.""",
    "sweep": """1 to 96 users

Short prompts, replies of 200 tokens; all users send their requests at the same time.""",
    "wall": """Memory wall: Llama-2, prompts of about 2,000 tokens that share all but their ends

*Waiting* is the longest queue after every user's first token; requests in it have been preempted.""",
    "long": """Qwen, 48 users, prompts of 12,000 tokens

The same wall, nine times further away.""",
    "caching": """Prefix caching: 8 users, a system prompt of about 2,000 characters

Two runs each: the user's own data before the system prompt (*unique*), and after it (*shared*). Llama-2's shared
replies are two tokens long, as published, so its two runs did not do the same work.""",
}
"""Heading and text of each table."""


def _tables(cells: Sequence[Compared], results: Sequence[Result]) -> Iterator[str]:
    for table, text in TABLES.items():
        in_table = [cell for cell in cells if cell.cell.table == table]
        yield f"## {text}"
        for model in (QWEN, LLAMA):
            rows = [cell for cell in in_table if cell.cell.model == model]
            if rows:
                yield f"{NAMES[model]}\n\n{_table(rows)}"
        yield _commands([result.trial for result in results if result.trial.table.startswith(table)])


def _commands(trials: Sequence[Trial]) -> str:
    """Return the commands of a table's trials; those that differ only in the number of users become one, with N."""
    servers = [f"probe sim {shlex.join(trial.server_options)} --port 8000" for trial in trials]
    loads = [f"probe run {shlex.join(trial.load_arguments)} --host http://127.0.0.1:8000" for trial in trials]
    if len({trial.users for trial in trials}) > 1:
        users = [f"-u {trial.users} -r {trial.users} " for trial in trials]
        loads = [load.replace(of_trial, "-u N -r N ") for load, of_trial in zip(loads, users, strict=True)]
    return "\n".join(["```", *dict.fromkeys([*servers, *loads]), "```"])


def _table(rows: Sequence[Compared]) -> str:
    lines = ["| users | figure | published | measured | deviation | |", "|--:|---|--:|--:|--:|---|"]
    for row in rows:
        cell, name = row.cell, row.cell.quantity
        basis = f"fitted: {row.fitted}" if row.fitted else "predicted"
        verdict = basis if row.within else f"**outside** ({basis})"
        figures = f"{_value(name, cell.published)} | {_value(name, row.measured)} | {_deviation(row)}"
        lines.append(f"| {cell.users} | {QUANTITIES[name]} | {figures} | {verdict} |")
    return "\n".join(lines)


def _value(name: str, value: float) -> str:
    if name in SECONDS:
        return f"{value:.3f} s" if value < 0.2 else f"{value:.2f} s"
    if name in SHARES:
        return f"{100 * value:.1f} %" if value else "0 %"
    if name in COUNTS:
        return f"{value:.0f}"
    return f"{value:.1f} ×" if name == "ratio" else f"{value:.1f}"


def _deviation(row: Compared) -> str:
    kind = TOLERANCES[row.cell.quantity][0]
    if kind == "share":
        return f"{round(100 * row.deviation) + 0:+d} %"
    if kind == "factor":
        return f"× {row.deviation:.2f}"
    return f"{100 * row.deviation:+.1f} points" if kind == "points" else f"{row.deviation:+.0f}"


def _misses(cells: Sequence[Compared]) -> str:
    missed = [f"- **{_named(row)}: {_deviation(row)}, outside its tolerance.**" for row in cells if not row.within]
    return "\n".join(missed) or "All figures are within tolerance. Why some are close to its limit:"


def _named(row: Compared) -> str:
    cell = row.cell
    return f"{NAMES[cell.model]}, {_users(cell.users)}, {QUANTITIES[cell.quantity]}"


def _users(count: int) -> str:
    return "1 user" if count == 1 else f"{count} users"


def _workloads() -> str:
    loads: list[tuple[str, Workload]] = [
        ("baseline, sweep", workload.SHORT),
        ("memory wall", workload.WALL),
        ("memory wall, distinct prompts", workload.WALL_DISTINCT),
        ("long prompts", workload.LONG),
        *((f"prefix caching, {NAMES[model]}", load) for model, load in workload.CACHED.items()),
    ]
    lines = ["| table | shared prompt tokens | own prompt tokens | reply tokens |", "|---|--:|--:|--:|"]
    lines += [f"| {name} | {load.shared} | {load.own} | {load.reply} |" for name, load in loads]
    return "\n".join(lines)


def _cell(key: tuple[str, str, int, str]) -> str:
    table, model, users, quantity = key
    return f"{table}, {NAMES[model]}, {_users(users)}, {QUANTITIES[quantity]}"


def _distinct(results: Sequence[Result]) -> str:
    lines = [
        "| users | peak KV | preemptions | TTFT p95 | total tok/s | longest gap |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for result in results:
        if result.trial.table == "distinct":
            f = available_figures(result)
            server = f"{100 * f['kv_usage_max']:.0f} % | {f['preemptions']:.0f} | {f['ttft_p95']:.1f} s"
            lines.append(
                f"| {result.trial.users} | {server} | {f['total_tokens_per_s']:.0f} | {f['longest_gap']:.1f} s |"
            )
    return "\n".join(lines)


def _mixed(results: Sequence[Result]) -> str:
    lines = ["| model | TTFT p50 cold | TTFT p50 warm | ratio (95 %) | cached: cold, warm |", "|---|--:|--:|--:|--:|"]
    for result in results:
        if result.trial.table == "mixed":
            f = available_figures(result)
            waits = f"{f['judged_cold_p50']:.2f} s | {f['judged_warm_p50']:.2f} s"
            ratio = f"{f['judged_ratio']:.1f} ({f['judged_ratio_low']:.1f}–{f['judged_ratio_high']:.1f})"
            shares = f"{100 * f['judged_cold_cached']:.0f} %, {100 * f['judged_warm_cached']:.0f} %"
            lines.append(f"| {NAMES[result.trial.model]} | {waits} | {ratio} | {shares} |")
    return "\n".join(lines)


def _warm_up(result: Result) -> dict[str, float]:
    f = available_figures(result)
    return {
        "most": f["warm_up_most"],
        "seconds": result.trial.speed * f["warm_up_seconds"],
        "slowest": result.trial.speed * f["warm_up_slowest_reply"],
        "after": f["ttft_p95"],
        "users": result.trial.users,
    }


def available_figures(result: Result) -> dict[str, float]:
    """Return the figures that the run has."""
    return {key: value for key, value in result.figures.items() if value is not None}
