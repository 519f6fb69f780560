"""The page, from `coding.json`: what a buyer reads first, then each measurement beside the review's."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from probe_ext.settings.slo import SloProfile, load_profile
from probe_ext.verdict.phrasing import formats
from scripts.coding_report import published
from scripts.coding_report.runs import PRICE_PER_HOUR, PROFILE, RUNS, YEARS

_HEAD, _DIFFERS = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.md", "differs.md"))
_SLO_DIR = Path(__file__).parents[2] / "configs" / "slo"
_TO_PROVE = Path(__file__).with_name("to_prove.md").read_text(encoding="utf-8").strip().replace("\n", "\n  ")
Figures = Mapping[str, Any]


def page(figures: Figures) -> str:
    """Return the page as Markdown."""
    slo = load_profile("coding-assistant", _SLO_DIR)
    return _HEAD.format(
        price=figures["price"], sentence=figures["team"]["sentence"],
        suitability=_suitability(figures, slo),
        team=_team(figures), kinds=_kinds(figures["team"]["kinds"]),
        cost_about=_cost_about(figures), cost=_cost(figures),
        alone=_alone(figures["alone"]), between=_percent(figures["between_tasks"]),
        prompts=_prompts(figures["prompts"]), two=_two(figures["two"]),
        differs=_DIFFERS.format(proof=_proof(figures["team"])).rstrip(), commands=_commands(),
    )  # fmt: skip


def _suitability(figures: Figures, slo: SloProfile) -> str:
    """One row per requirement: what is promised, what the review found, what 95 % of the replies keep here."""
    alone, two = figures["alone"], figures["two"]
    first, typing, silence = (part.served for part in (slo.first_word, slo.typing, slo.silence) if part)
    chat_first = load_profile("chat", _SLO_DIR).first_word
    review = alone["review"]["first_word_p95"]
    slowest = min(task["decode_rate_p05"] for task in alone.values())
    longest = max(level["longest_gap_p95"] for level in (*alone.values(), two))
    function = alone["function"]["first_word_p95"]
    rows = [
        ("first word, function", _at_most(first), "20 to 21 ms", *_kept(function, first, most=True)),
        ("first word, review of 600 tokens", _at_most(first), formats.DASH, *_kept(review, first, most=True)),
        ("… by `chat`", _at_most(chat_first and chat_first.served), formats.DASH,
         *_kept(review, chat_first and chat_first.served, most=True)),
        ("tokens/s, slowest task", _at_least(typing), "79", *_kept(slowest, typing, most=False)),
        ("tokens/s of each, 2 in parallel", _at_least(typing), "76",
         *_kept(two["decode_rate_p05"], typing, most=False)),
        ("longest silence in a reply", _at_most(silence), formats.DASH, *_kept(longest, silence, most=True)),
        ("tokens/s of the four tasks differ by", formats.DASH, f"± {_percent(published.BETWEEN_TASKS)}",
         f"± {_percent(figures['between_tasks'])}", formats.DASH),
        ("developers together", "1 to 4 (review)", published.AT_ONCE, *_developers_together(figures)),
        ("memory left", "over 2 GB (review)", "2 GB", "not simulated", formats.DASH),
    ]  # fmt: skip
    return _table(("requirement", "promise", "review", "here", "kept"), rows)


def _percent(share: float) -> str:
    return f"{share:.2%}".replace("%", " %")


def _at_most(seconds: float | None) -> str:
    return f"{formats.seconds(seconds)} at most"


def _at_least(rate: float) -> str:
    return f"{rate:g} at least"


def _developers_together(figures: Figures) -> tuple[str, str]:
    served, tried = figures["team"]["served_users"], figures["team"]["levels"][-1]["users"]
    return (f"{served} proven", "✓") if served else (f"probably {tried}, not proven", formats.DASH)


def _team(figures: Figures) -> str:
    """One row per number of developers and run: each kind's share of replies that kept their promise, the verdict."""
    kinds = [kind["name"] for kind in figures["team"]["kinds"]]
    rows = []
    for run in (figures["sweep"], figures["team"]):
        shares = {
            (level["users"], kind["name"]): level["served_share"] for kind in run["kinds"] for level in kind["levels"]
        }
        for level in run["levels"]:
            own = [formats.percent(shares.get((level["users"], kind))) for kind in kinds]
            span = formats.span(level["seconds"])
            rows.append((str(level["users"]), span, *own, formats.rate(level["decode_rate_p05"]), level["state"]))
    return _table(("developers", "measured for", *kinds, "tokens/s, p05", "verdict"), rows)


def _proof(team: Figures) -> str:
    """Say what the longer run proves, or by which kinds of request it falls short."""
    if team["served_users"]:
        return f"The longer run proves it for {team['served_users']} developers."
    short = []
    for kind in team["kinds"]:
        level = kind["levels"][0]
        if kind["served_users"] is None:
            share, low = formats.percent(level["served_share"]), formats.percent(level["served_share_low"])
            short.append(
                f"of the kind `{kind['name']}`, {share} of {level['replies']} replies were served and {low} are proven"
            )
    return f"It is not proven: that takes 90 % of each kind of request;\n  {', '.join(short)}.\n  {_TO_PROVE}"


def _kept(value: float | None, bound: float | None, *, most: bool) -> tuple[str, str]:
    """Return a figure and whether it keeps its bound."""
    if value is None or bound is None:
        return formats.DASH, formats.DASH
    kept = value <= bound if most else value >= bound
    return formats.seconds(value) if most else formats.rate(value), "✓" if kept else "✗"


def _kinds(kinds: Sequence[Figures]) -> str:
    said = [
        f"{kind['name']}: {_people(kind['served_users'])}"
        + (f" (95 %: {_interval(kind['interval'])})" if kind["served_users"] else "")
        for kind in kinds
    ]
    return (
        "The shorter runs only show shares. By the longer one, this many developers are proven to be served: "
        f"{'; '.join(said)}."
    )


def _people(value: int | None) -> str:
    return "not proven" if value is None else f"{value:,}"


def _interval(interval: Sequence[int | None] | None) -> str:
    if not interval:
        return formats.DASH
    low, high = interval
    return f"{low} or more" if high is None else f"{low} to {high}"


def _cost_about(figures: Figures) -> str:
    return (
        f"${figures['price']:g} for the card, spread over {YEARS} years of use around the clock: "
        f"${PRICE_PER_HOUR:.4f} per hour, without electricity and the rest of the machine."
    )


def _cost(figures: Figures) -> str:
    """One row per load: dollars per token/s to buy, per person, and per million tokens."""
    team = figures["team"]
    alone = figures["alone"]["function"]
    loads: list[tuple[str, float, int, str]] = [
        ("1 user, always busy", alone["tokens_per_s"], 1, f"${published.COST_PER_TOKEN_PER_S:.2f}"),
        ("2 in parallel", figures["two"]["total_tokens_per_s"], 2, formats.DASH),
        *((_developers(one), one["total_tokens_per_s"], one["users"], formats.DASH) for one in team["levels"]),
    ]
    rows = [
        (
            name,
            formats.rate(rate),
            f"${figures['price'] / rate:.2f}",
            there,
            f"${figures['price'] / people:,.2f}",
            f"${PRICE_PER_HOUR / (3600 * rate) * 1e6:.3f}",
        )
        for name, rate, people, there in loads
    ]
    heads = ("load", "tokens/s", "per token/s", "review", "per user", "per million tokens")
    return _table(heads, rows) + _own_words(team)


def _developers(level: Figures) -> str:
    proven = "" if level["state"] == "held" else ", not proven"
    return f"{level['users']} developers ({formats.percent(level['served_share'])} of replies served{proven})"


def _own_words(team: Figures) -> str:
    cost = team["cost"]
    if not cost:
        return "\n\nThe run does not prove that these developers are served, so `probe` itself states no cost for them."
    parts = {
        "per_million_tokens": "per million tokens",
        "per_user_hour": "per developer and hour",
        "per_thousand_requests": "per thousand requests",
    }
    said = [f"${cost[key]:.4g} {name}" for key, name in parts.items() if cost.get(key) is not None]
    return f"\n\nWhat `probe run --price-per-hour` itself says at the proven number of developers: {', '.join(said)}."


def _alone(alone: Figures) -> str:
    rows = []
    for task, found in alone.items():
        seconds = published.TIMES.get(task)
        rows.append((
            task, f"{found['prompt']:.0f}", f"{found['tokens']:.0f}",
            f"{published.TOKENS_PER_S[task]:.2f}", f"{found['tokens_per_s']:.2f}",
            f"{found['tokens_per_s'] / published.TOKENS_PER_S[task] - 1:+.1%}".replace("%", " %"),
            f"± {_percent(found['spread'])}",
            f"{seconds[1]:.2f} s" if seconds else formats.DASH, f"{found['seconds']:.2f} s",
            f"fitted: {published.FITTED['alone']}" if task == "chat" else "predicted",
        ))  # fmt: skip
    heads = ("task", "prompt", "reply", "tokens/s, review", "here", "deviation", "between replies (p5 to p95)",
             "whole reply, review", "here", "")  # fmt: skip
    return _table(heads, rows)


def _prompts(prompts: Sequence[Figures]) -> str:
    rows = []
    for index, found in enumerate(prompts):
        mean, least = published.TTFT.get((found["tokens"], found["shared"]), (None, None))
        rows.append((
            formats.count(found["tokens"]), formats.count(found["cached"]), _ms(mean), _ms(found["mean"]), _ms(least),
            _ms(found["min"]), _ms(found["p95"]), "predicted" if index else f"fitted: {published.FITTED['ttft']}",
        ))  # fmt: skip
    heads = ("prompt tokens", "of them cached", "mean, review", "mean, here", "least, review", "least, here",
             "p95, here", "")  # fmt: skip
    return _table(heads, rows)


def _ms(value: float | None) -> str:
    return formats.DASH if value is None else f"{1000 * value:.1f} ms"


def _two(two: Figures) -> str:
    each = " and ".join(f"{one:.2f}" for one in published.TWO_EACH)
    rows = [
        ("tokens/s of each", each, f"{two['decode_rate_p50']:.2f}", "predicted"),
        ("tokens/s together", f"{published.TWO_TOTAL:.2f}", f"{two['total_tokens_per_s']:.2f}", "predicted"),
        ("100 tokens in", f"{published.TWO_SECONDS[0]:.2f} s and {published.TWO_SECONDS[1]:.2f} s",
         f"{two['seconds']:.2f} s", "predicted"),
    ]  # fmt: skip
    return _table(("figure", "review", "here", ""), rows)


def _commands() -> str:
    commands = "\n".join(shlex.join(shlex.split(run.command)) + "   # " + run.name for run in RUNS)
    return (
        f"```\nprobe sim --profile {PROFILE} --port 8000\n{commands}\n```\n\nEach with `--host http://127.0.0.1:8000`."
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruled = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ruled, *rows))
