"""Are the levels comparable, and long enough to decide?"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.verdict.evidence.columns import is_any, numbers, text_counts
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import mapping, mappings, number, search_of
from probe_ext.verdict.phrasing.formats import count, percent, rate, seconds
from probe_ext.verdict.phrasing.plurals import capitalised, listed, more, things
from probe_ext.verdict.phrasing.plurals import levels as levels_named
from probe_ext.verdict.server.server_series import Metrics, server_hit_rate
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.wording.early_end import (
    NEVER_STILL,
    RUN_AGAIN,
    is_interrupted,
    planned,
    unmeasured,
    why_nothing,
)
from probe_ext.verdict.wording.unproven_level import why_unproven

MAX_UNPLANNED_CACHE_SHARE = 0.50
"""Of the prompt tokens, beyond those meant to be shared."""
MAX_LENGTH_DIFFERENCE = 0.25
"""Between the median output lengths of two levels."""
MAX_CUT_REASONING_SHARE = 0.01
"""Of all replies."""

_UNSTEADY_ADVICE = (
    "Something was not the same at each visit: other programs on the server's machine, other clients, or users who "
    "kept asking in step with each other. A level's state and share are of all its visits together. Find out what it "
    "was, then repeat."
)
_HOLD_LEVELS = "Hold each number of users for half a minute: --levels 1,2,4,8."


def load_checks(
    evidence: Evidence, levels: Sequence[LevelResult], metrics: Metrics, estimate: CapacityEstimate
) -> Iterator[Finding]:
    """Yield the checks of levels, their order, prompts that were cached or repeated, output lengths and reasoning."""
    yield _levels(evidence, levels)
    yield _planned(evidence, levels)
    yield _in_order(estimate)
    yield _drift(levels, estimate)
    yield _cached(evidence, metrics)
    yield from _repeated(evidence)
    yield _lengths(levels)
    yield _cut_reasoning(evidence)


def _levels(evidence: Evidence, levels: Sequence[LevelResult]) -> Finding:
    if not levels:
        why = why_nothing(evidence.manifest)
        advice = _HOLD_LEVELS if why == NEVER_STILL else RUN_AGAIN
        advice = "" if is_interrupted(evidence.manifest) else advice
        return Finding("levels", "unproven", False, f"{capitalised(why)}.", advice)
    unproven = {level.users: level for level in levels if level.state == "unproven"}
    if not unproven:
        return Finding("levels", "pass", False, f"{things(len(levels), 'level')}, each decided.")
    named = listed([f"{things(users, 'user')} ({why_unproven(level)})" for users, level in sorted(unproven.items())])
    # A search decides by itself how long it holds a level, and of an interrupted run the check `ended` says what helps.
    own_plan = search_of(evidence.manifest) or is_interrupted(evidence.manifest)
    longer = [users for users, level in sorted(unproven.items()) if level.replies_needed]
    advice = "" if own_plan or not longer else f"Hold {levels_named(longer)} longer (--hold)."
    return Finding("levels", "unproven", False, f"Not decided: {named}.", advice)


def _planned(evidence: Evidence, levels: Sequence[LevelResult]) -> Finding:
    """Planned levels without a measured part."""
    if planned(evidence.manifest) is None:
        return Finding("planned_levels", "pass", False, "No levels were planned: the load was set by hand.")
    left = unmeasured(evidence.manifest, levels)
    if not left:
        return Finding("planned_levels", "pass", False, "Every planned level was measured.")
    if search_of(evidence.manifest) or is_interrupted(evidence.manifest):
        return Finding("planned_levels", "unproven", False, f"Not measured before the run ended: {levels_named(left)}.")
    why = f"Planned but not measured: {levels_named(left)}."
    return Finding("planned_levels", "fail", False, why, RUN_AGAIN)


def _in_order(estimate: CapacityEstimate) -> Finding:
    """More load cannot improve the service: a level that did worse than a higher one has another cause."""
    if estimate.contradictions:
        why = (
            f"Service at {levels_named(estimate.contradictions)} was worse than at {more(estimate.contradictions[0])}: "
            "load does not explain that."
        )
    elif estimate.disturbed:
        disturbed = levels_named(estimate.disturbed)
        why = f"At {disturbed} one stretch was much worse than the rest: load does not explain that."
    else:
        return Finding("in_order", "pass", False, "No level did worse than a higher one by more than chance.")
    advice = "Something else slowed the server down at the time (cold start, other users). Warm it up and repeat."
    return Finding("in_order", "fail", False, why, advice)


def _drift(levels: Sequence[LevelResult], estimate: CapacityEstimate) -> Finding:
    """A server that changes during the run has no single capacity: a level and its repetition must agree.

    It may have changed for good (`estimate.drift`), or go back and forth (`estimate.unsteady`).
    """
    visits = Counter(level.users for level in levels if not level.band)
    repeated = sorted(users for users, number in visits.items() if number > 1)
    if not repeated:
        return Finding(
            "drift", "unproven", False, "No level was visited twice, so it is not known whether the server drifted."
        )
    unsteady, uneven = ([users for users in repeated if users in of] for of in (estimate.unsteady, estimate.uneven))
    shown = "; ".join(_visits(users, levels) for users in estimate.drift or unsteady or uneven or repeated)
    left_out = [users for users in repeated if users in estimate.disturbed]
    if left_out and not estimate.drift:
        why = f"One visit was much worse than the other, and is left out. {capitalised(_visits(left_out[0], levels))}."
        return Finding("drift", "fail", False, why, "Find out what else used the server at the time, then repeat.")
    if unsteady and not estimate.drift:
        why = f"Visits to {levels_named(unsteady)} differ by more than stretches of one visit do."
        return Finding("drift", "fail", False, f"{why} {capitalised(shown)}.", _UNSTEADY_ADVICE)
    if uneven and not estimate.drift:
        why = f"Visits to {levels_named(uneven)} differ, but by no more than stretches of one visit do."
        return Finding("drift", "unproven", False, f"{why} {capitalised(shown)}.")
    if not estimate.drift:
        return Finding("drift", "pass", False, f"Repeated visits agree. {capitalised(shown)}.")
    advice = "The server changed during the run (temperature, other clients, memory). Find out what did, then repeat."
    return Finding("drift", "fail", False, f"Repeated visits differ by more than chance. {capitalised(shown)}.", advice)


def _visits(users: int, levels: Sequence[LevelResult]) -> str:
    """Return `at 8 users, from visit to visit: served 98 % → 71 %, median TTFT 0.2 s → 0.8 s, …`."""
    visits = sorted((level for level in levels if level.users == users), key=lambda level: level.t_start)
    parts = [
        (_in_turn([one.slo_attainment for one in visits], percent), "replies served {}"),
        (_in_turn([one.ttft_p50 for one in visits], seconds), "median TTFT {}"),
        (_in_turn([one.decode_rate_p50 for one in visits], rate), "median typing speed {} tokens/s"),
    ]
    shown = ", ".join(words.format(values) for values, words in parts if values)
    return f"at {things(users, 'user')}, from visit to visit: {shown}"


def _in_turn(values: Sequence[float | None], shown: Callable[[float | None], str]) -> str:
    return " → ".join(shown(value) for value in values if value is not None)


def _cached(evidence: Evidence, metrics: Metrics) -> Finding:
    """Prompts meant to be distinct that hit the prefix cache make the server look faster than it is."""
    share = _cached_share(evidence, metrics)
    if share is None:
        why = "The server does not report how many prompt tokens came from its prefix cache."
        return Finding("prompt_cache", "unproven", False, why)
    meant = _planned_cache_share(evidence)
    why = f"{percent(share)} of prompt tokens came from the prefix cache (intended: {percent(meant)})."
    if share - meant <= MAX_UNPLANNED_CACHE_SHARE:
        return Finding("prompt_cache", "pass", False, why)
    advice = (
        "The first word comes sooner than it would with new prompts. Omit --prompt-seed so that no prompt is repeated, "
        "unless these were turns of one conversation."
    )
    return Finding("prompt_cache", "fail", False, why, advice)


def _cached_share(evidence: Evidence, metrics: Metrics) -> float | None:
    given, cached = (numbers(evidence.replies, name) for name in ("tokens_in", "tokens_cached"))
    first_turn = ~is_any(evidence.replies, "kind", {"turn"})
    known = ~np.isnan(given) & ~np.isnan(cached) & first_turn  # later turns are meant to hit the cache
    if known.any() and given[known].sum():
        return float(cached[known].sum() / given[known].sum())
    return server_hit_rate(metrics) if first_turn.all() else None


def _planned_cache_share(evidence: Evidence) -> float:
    """Return the share of prompt tokens that earlier prompts contain as well: of a trace as its prompts say."""
    given, planned = (numbers(evidence.replies, name) for name in ("tokens_in", "tokens_shared"))
    known = ~np.isnan(given) & ~np.isnan(planned)
    if given[known].sum():
        return min(float(planned[known].sum() / given[known].sum()), 1.0)
    prompts = mapping(evidence.manifest.get("prompts"))
    shared, asked = number(prompts, "shared_prefix_tokens"), number(prompts, "input_tokens")
    return min(shared / asked, 1.0) if shared and asked else 0.0


def _repeated(evidence: Evidence) -> Iterator[Finding]:
    """Yield whether prompts were sent more than once; nothing for a run without prompt files."""
    files = _prompts_by_file(evidence.manifest)
    if not files:
        return
    own_prompt = ~is_any(evidence.replies, "kind", {"turn"})  # later turns may come from the same entry
    begun = text_counts(evidence.replies, "scenario", own_prompt)
    repeated = []
    for (file, prompts), kinds in files.items():
        sent = sum(begun[kind] for kind in kinds)
        if sent > prompts:
            repeated.append(f"{things(prompts, 'prompt')} of {file}: {things(sent, 'request')}")
    if not repeated:
        yield Finding("prompt_repeats", "pass", False, "No prompt of a file was sent twice.")
        return
    why = f"The run was longer than its prompt files, so prompts were sent again ({listed(repeated)})."
    advice = "The first word may have come sooner than with new prompts. Use more prompts, or a shorter run."
    yield Finding("prompt_repeats", "fail", False, why, advice)


def _prompts_by_file(manifest: Mapping[str, Any]) -> dict[tuple[str, int], list[str]]:
    """Return the kinds that use a file, by the file's name and how many of its prompts are sent."""
    files: dict[tuple[str, int], list[str]] = {}
    for kind in mappings(mapping(manifest.get("workload")).get("kinds")):
        source = mapping(kind.get("prompts"))
        prompts = number(source, "prompts")
        if source.get("file") and prompts:
            files.setdefault((str(source["file"]), int(prompts)), []).append(str(kind.get("name")))
    return files


def _lengths(levels: Sequence[LevelResult]) -> Finding:
    """Levels whose replies differ in length are not under comparable load."""
    medians = {level.users: level.tokens_out_p50 for level in levels if level.tokens_out_p50}
    if len(medians) < 2:
        return Finding("output_lengths", "unproven", False, "Fewer than two levels have answers to compare.")
    shortest = min(medians, key=lambda users: medians[users])
    longest = max(reversed(medians), key=lambda users: medians[users])
    why = f"The median answer has {things(round(medians[shortest]), 'token')} at {things(shortest, 'user')}"
    why += f" and {count(medians[longest])} at {longest:,}."
    if medians[longest] <= medians[shortest] * (1 + MAX_LENGTH_DIFFERENCE):
        return Finding("output_lengths", "pass", False, why)
    advice = "The levels are hard to compare; request answers of one length (--max-tokens with --ignore-eos)."
    return Finding("output_lengths", "fail", False, why, advice)


def _cut_reasoning(evidence: Evidence) -> Finding:
    """Replies that spent their token limit on reasoning: users saw no answer, but the limit is the client's."""
    empty = is_any(evidence.replies, "outcome", {Outcome.NO_ANSWER})
    cut = int((empty & is_any(evidence.replies, "finish_reason", {"length"})).sum())
    total = len(empty)
    if not total or cut <= MAX_CUT_REASONING_SHARE * total:
        return Finding("thinking_cut", "pass", False, "The token limit left enough room for answers.")
    why = f"{things(cut, 'reply', 'replies')} spent the whole token limit on reasoning and gave no answer."
    advice = "Raise --max-tokens: this limit is the client's, not the server's."
    return Finding("thinking_cut", "fail", False, why, advice)
