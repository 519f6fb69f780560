"""Was the load such that the levels can be compared, and long enough to tell?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.verdict.server.server_series import Metrics, server_hit_rate
from probe_ext.verdict.values.columns import numbers, texts
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.formats import count, percent
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.manifest_view import number
from probe_ext.verdict.values.plurals import listed, things
from probe_ext.verdict.wording.early_end import NEVER_STILL, planned, unmeasured, why_nothing
from probe_ext.verdict.wording.unproven_level import why_undecided

FROM_CACHE = 0.50
"""of the prompts' tokens, beyond those that were meant to be shared"""
UNEQUAL = 0.25
"""median output lengths of two levels further apart than this part"""
CUT_THINKING = 0.01
"""of the replies"""


def load_checks(evidence: Evidence, levels: Sequence[LevelResult], metrics: Metrics) -> Iterator[Finding]:
    """Levels proven, levels in order, prompts from the cache, output lengths, thinking cut short."""
    yield _levels(evidence, levels)
    yield _planned(evidence, levels)
    yield _in_order(levels)
    yield _cached(evidence, metrics)
    yield _lengths(levels)
    yield _cut_thinking(evidence)


def _levels(evidence: Evidence, levels: Sequence[LevelResult]) -> Finding:
    if not levels:
        why = why_nothing(evidence.manifest)
        advice = "Hold each number of users for half a minute: --levels 1,2,4,8."
        advice = advice if why == NEVER_STILL else "Run again, and let it end by itself."
        return Finding("levels", "unproven", False, f"{why[:1].upper()}{why[1:]}.", advice)
    open_ones = [level for level in levels if level.state == "unproven"]
    if not open_ones:
        return Finding("levels", "pass", False, f"{things(len(levels), 'level')}, each decided.")
    bands = [level for level in open_ones if level.band]
    if len(bands) == len(open_ones):
        why = (
            f"{things(len(bands), 'band')} of a climb: the number of users kept changing, so nothing is proven by them."
        )
        return Finding(
            "levels", "unproven", False, why, "Hold each number of users for half a minute: --levels 1,2,4,8."
        )
    short = [level for level in open_ones if not level.band]
    named = listed([f"{things(level.users, 'user')} ({why_undecided(level)})" for level in short])
    advice = "Hold those levels longer (--hold)."
    return Finding("levels", "unproven", False, f"Not enough was heard to decide {named}.", advice)


def _planned(evidence: Evidence, levels: Sequence[LevelResult]) -> Finding:
    """Levels that were asked for and have no measured part."""
    if planned(evidence.manifest) is None:
        return Finding("planned_levels", "pass", False, "No levels were planned: the load was driven by hand.")
    left = unmeasured(evidence.manifest, levels)
    if not left:
        return Finding("planned_levels", "pass", False, "Every level that was planned was measured.")
    why = f"Planned and not measured: {listed([f'{n:,}' for n in left])} users."
    return Finding("planned_levels", "fail", False, why, "Run again, and let it end by itself.")


def _in_order(levels: Sequence[LevelResult]) -> Finding:
    """More people at once cannot be served better; where it looks so, something else was going on."""
    decided = [level for level in levels if level.state != "unproven"]
    failed = min((level.users for level in decided if level.state == "failed"), default=None)
    above = sorted({level.users for level in decided if level.state == "held" and failed and level.users > failed})
    if failed is None or not above:
        return Finding("in_order", "pass", False, "No level held above one that failed.")
    why = (
        f"{failed:,} users failed, yet {listed([f'{n:,}' for n in above])} held: the load alone does not explain that."
    )
    advice = "Something else slowed the server at that time (cold start, other users). Warm it up and repeat."
    return Finding("in_order", "fail", False, why, advice)


def _cached(evidence: Evidence, metrics: Metrics) -> Finding:
    """Prompts that were to be distinct, but came from the server's prefix cache: it looks faster than it is."""
    given, cached = (numbers(evidence.replies, name) for name in ("tokens_in", "tokens_cached"))
    fresh = np.array([kind != "turn" for kind in texts(evidence.replies, "kind")], dtype=np.bool_)
    both = ~np.isnan(given) & ~np.isnan(cached) & fresh  # a further turn is meant to find the earlier ones
    if both.any() and given[both].sum():
        share = float(cached[both].sum() / given[both].sum())
    else:
        counted = server_hit_rate(metrics) if fresh.all() else None
        if counted is None:
            return Finding(
                "prompt_cache", "unproven", False, "The server does not say how much of a prompt it had in its cache."
            )
        share = counted
    meant = _meant_to_be_shared(evidence.manifest)
    why = f"{percent(share)} of the prompts' tokens came from the server's cache; {percent(meant)} were meant to."
    if share - meant <= FROM_CACHE:
        return Finding("prompt_cache", "pass", False, why)
    advice = (
        "The wait for the first word looks shorter than with new prompts: leave --prompt-seed out, so that none is "
        "asked twice, unless these were turns of one conversation."
    )
    return Finding("prompt_cache", "fail", False, why, advice)


def _meant_to_be_shared(manifest: Mapping[str, Any]) -> float:
    prompts = manifest.get("prompts")
    if not isinstance(prompts, Mapping):
        return 0.0
    shared, asked = number(prompts, "shared_prefix_tokens"), number(prompts, "input_tokens")
    return min(shared / asked, 1.0) if shared and asked else 0.0


def _lengths(levels: Sequence[LevelResult]) -> Finding:
    """Levels whose replies differ in length are not under the same load."""
    of = {level.users: level.figures.tokens_out_p50 for level in levels}
    medians = {users: length for users, length in of.items() if length}
    if len(medians) < 2:
        return Finding("output_lengths", "unproven", False, "There are not two levels with answers to compare.")
    shortest, longest = min(medians, key=lambda n: medians[n]), max(medians, key=lambda n: medians[n])
    why = f"Half of the answers are longer than {count(medians[shortest])} tokens at {shortest:,} users"
    why += f" and {count(medians[longest])} at {longest:,}."
    if medians[longest] <= medians[shortest] * (1 + UNEQUAL):
        return Finding("output_lengths", "pass", False, why)
    advice = "The levels do not compare well; ask for answers of one length (--max-tokens with --ignore-eos)."
    return Finding("output_lengths", "fail", False, why, advice)


def _cut_thinking(evidence: Evidence) -> Finding:
    """Replies that thought until their token limit: a limit of ours, felt as no answer at all."""
    pairs = zip(texts(evidence.replies, "outcome"), texts(evidence.replies, "finish_reason"), strict=True)
    cut = sum(1 for outcome, reason in pairs if outcome == Outcome.NO_ANSWER and reason == "length")
    total = len(texts(evidence.replies, "outcome"))
    if not total or cut <= CUT_THINKING * total:
        return Finding("thinking_cut", "pass", False, "Replies had room enough to come to their answer.")
    why = f"{things(cut, 'reply', 'replies')} spent all allowed tokens on thinking and never came to an answer."
    return Finding(
        "thinking_cut", "fail", False, why, "Raise --max-tokens: the model's limit here is ours, not the server's."
    )
