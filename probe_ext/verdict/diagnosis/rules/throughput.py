"""Does throughput still grow with the batch; and if not, is it prefill, decode, or something outside the server?"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from probe_ext.verdict.diagnosis.facts.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.facts.gpu_signs import facts_of_gpu
from probe_ext.verdict.diagnosis.facts.level_load import COMPARABLE, Load
from probe_ext.verdict.diagnosis.rules.kv_cache import MIN_PREEMPTION_PAUSE_S
from probe_ext.verdict.diagnosis.rules.ruling import (
    USUALLY_TOO_LARGE,
    absent,
    advised,
    deferred,
    graded,
    holds,
    longer_levels,
    needed_metrics,
    unknown,
)
from probe_ext.verdict.phrasing.formats import decimals, percent, seconds
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.values.ruling_types import Fact, Ruling

MAX_LIGHT_LOAD = 2.0
"""Mean replies in flight up to which a level shows how long a prompt takes by itself."""
MIN_PREFILL_SHARE = 0.5
"""Of the server's time."""
MIN_SLOWDOWN = 2.0
"""Over the lightest level, of the wait for the first word or the time per token."""
MAX_FLAT, MIN_RISING = 1 / 3, 0.5
"""Throughput as a power of the batch size; at a third, doubling the batch brings a quarter more."""
MAX_HIDDEN_PLATEAU = 4.0
"""Factor in batch size over which throughput may have stood still, unseen, before what is known of its growth is
nothing: two levels far apart show how it grew on average, and not whether it still does at the larger one."""
AT_CEILING = 0.9
"""Of the highest throughput of all levels."""
PAUSE_TOKENS = 10
"""A gap as long as this many tokens take is a pause, not slow typing."""
NOISE_SIGMA = 2.0
"""Standard errors."""

FASTER_PROMPTS = {
    "vllm": "Move what all prompts share to the front, so that --enable-prefix-caching skips its prefill; shorten "
    "prompts; try a larger --max-num-batched-tokens. Beyond that, more compute is needed: a faster GPU or a second "
    "server.",
    "": "Move what all prompts share to the front and enable prefix caching; shorten prompts. Beyond that, more "
    "compute is needed: a faster GPU or a second server.",
}
HARDWARE_LIMIT = (
    "The hardware is the limit: more users share the same tokens per second. A smaller or more heavily quantised "
    "model, a faster GPU or a second server raises it; settings hardly do."
)
UNSEEN = "Nothing was measured between the two, so whether it still grew at the larger one is not known."
SOME_LIMIT = (
    "Read the server's metrics (--metrics-url) to learn whether the server itself or something in front of it, such as "
    "a gateway's token rate, is the limit."
)


def prefill_bound(facts: Facts) -> Ruling:
    """Most of the server's time goes into prefill, which delays first words or slows typing down."""
    rule = "prefill_bound"
    if not facts.loads:
        return unknown(rule, "No level was measured.", "a level")
    top = facts.loads[-1]
    prompts = top.prompt_per_s if top.prompt_per_s is not None else top.prompt_per_s_most
    generated, shown = top.tokens_per_s, []
    if prompts is not None and generated is not None:
        shown = [
            Fact(f"prompt tokens processed, at {things(top.users, 'user')}", prompts, "tokens/s"),
            Fact(f"tokens generated, at {things(top.users, 'user')}", generated, "tokens/s"),
        ]
        if prompts <= generated:
            why = "More tokens were generated than processed in prompts, and decode costs at least as much per token."
            return absent(rule, why, *shown)
    return _prefill_share(facts, facts.loads[0], top, shown)


def _prefill_share(facts: Facts, light: Load, top: Load, shown: list[Fact]) -> Ruling:
    """Estimate the share of time that the top level's prompts would take one by one, without one decode step each.

    An upper bound: the lightest level may have had other requests beside it, and more may be cached at the top. The
    clients' own wait holds the network as well, so it only rules prefill out.
    """
    rule = "prefill_bound"
    own = light.prefill if light.prefill is not None else light.server.ttft
    whole = own if own is not None else light.ttft
    if whole is None or not light.tpot or top.ttft is None or not light.ttft:
        return unknown(rule, "How long a prompt takes is not known.", "streamed replies with one user", *shown)
    alone = max(0.0, whole - light.tpot)
    longer = top.prompt / light.prompt if top.prompt and light.prompt else 1.0
    share, grown = top.replies_per_s * alone * longer, _grown(light, top)
    at = f"at {things(top.users, 'user')} over that at {light.users}"
    shown += [
        Fact(f"prefill of one prompt at {things(light.users, 'user')}", alone, "seconds"),
        Fact(f"share of the time that it takes at {things(top.users, 'user')}, at most", share, "fraction"),
    ]
    if top.users != light.users:
        shown.append(Fact(f"median first word {at}", top.ttft / light.ttft, ""))
        shown += [Fact(f"median time per token {at}", top.tpot / light.tpot, "")] if top.tpot else []
    if share < MIN_PREFILL_SHARE or (grown < MIN_SLOWDOWN and top is not light):
        return absent(rule, f"Prefill takes at most {percent(min(1.0, share))} of the server's time.", *shown)
    if missing := _missing(light, top, own):
        why = f"Prefill takes up to {percent(min(1.0, share))} of the server's time; how much exactly is not known."
        return unknown(rule, why, missing, *shown)
    grade = graded(
        {"little time is left for anything else": share >= (MIN_PREFILL_SHARE + 1) / 2},
        {"the server reports the prefill time": True if light.prefill is not None else None},
    )
    first = next(load for load in facts.loads if _grown(light, load) >= MIN_SLOWDOWN)
    why = f"Prefill takes about {percent(min(1.0, share))} of the server's time at {things(top.users, 'user')}. From"
    why += f" {light.users} to {things(top.users, 'user')} the median first word went from {seconds(light.ttft)} to"
    why += f" {seconds(top.ttft)}, the time per token from {seconds(light.tpot)} to {seconds(top.tpot or 0.0)}."
    advice = advised(FASTER_PROMPTS, facts.engine)
    return holds(rule, why, "prefill takes up the server's time", grade, advice, shown, first.users)


def _grown(light: Load, load: Load) -> float:
    """Return the larger slowdown: of the wait for the first word, or of the time per token."""
    waits = load.ttft / light.ttft if load.ttft and light.ttft else 1.0
    types = load.tpot / light.tpot if load.tpot and light.tpot else 1.0
    return max(waits, types)


def _missing(light: Load, top: Load, own: float | None) -> str:
    """Say what is needed for more than an upper bound; empty where nothing is missing."""
    if light.prompt is None or top.prompt is None:
        return "prompt and cached tokens, from the usage of replies or the server's counters"
    if own is None:
        return "the server's own prefill time or time to the first token, which the network does not add to"
    return "a level with one user and one with more" if light.crowd.in_flight > MAX_LIGHT_LOAD or top is light else ""


@dataclass(frozen=True)
class Point:
    """One level: throughput at a batch size."""

    load: Load
    batch: float
    tokens_per_s: float
    source: str = ""
    """where it is not what clients received: who counted it, as words that follow a figure's name"""


@dataclass(frozen=True)
class Slope:
    """Growth of throughput with the batch size between two levels."""

    low: Point
    high: Point
    power: float
    """1: throughput grows in proportion to the batch; 0: not at all"""
    error: float | None
    """standard error"""

    @property
    def stretch(self) -> float:
        """Logarithm of the ratio of the batches."""
        return math.log(self.high.batch / self.low.batch)

    @property
    def margin(self) -> float:
        """By how much the power may be wrong."""
        return NOISE_SIGMA * (self.error or 0.0)

    @property
    def is_flat(self) -> bool:
        """Whether throughput no longer grows, beyond noise; one that falls has another cause."""
        within = self.power <= MAX_FLAT and 0 <= self.power + self.margin <= MIN_RISING
        return self.error is not None and within

    @property
    def is_well_flat(self) -> bool:
        """Whether it is flat, however far the power is off."""
        return self.power + self.margin <= MAX_FLAT

    @property
    def is_rising(self) -> bool:
        """Whether throughput still grows, beyond noise as far as that is known."""
        return self.power > MAX_FLAT and self.power - self.margin >= MAX_FLAT / 2

    @property
    def is_noisy(self) -> bool:
        """Whether noise alone leaves open if it grows."""
        within = not self.is_rising if self.power > MAX_FLAT else self.power + self.margin > MIN_RISING
        return self.error is None or within

    @property
    def hides_plateau(self) -> bool:
        """Whether throughput may have grown in proportion at first, and no longer over much of the way."""
        return math.exp(self.stretch * (1 - self.power)) > MAX_HIDDEN_PLATEAU

    @property
    def level_between(self) -> str:
        """The level that would tell more."""
        return f"a level of about {things(max(2, round(self.high.batch / 2)), 'user')}"

    @property
    def apart(self) -> float:
        """Seconds from the smaller batch to the larger."""
        return (self.high.load.t_start + self.high.load.t_end - self.low.load.t_start - self.low.load.t_end) / 2


def client_slope(loads: Sequence[Load]) -> Slope | None:
    """Compare two levels by what clients saw."""
    return _slope(Point(load, load.batch, load.tokens_per_s or 0.0) for load in loads)


def server_slope(loads: Sequence[Load]) -> Slope | None:
    """Compare two levels by what the server itself reports; its clients' tokens where it does not count its own."""
    return _slope(_point_of_server(load) for load in loads if load.server.running)


def _point_of_server(load: Load) -> Point:
    generated = load.server.tokens_per_s
    if not generated:
        return Point(load, load.server.running or 0.0, load.tokens_per_s or 0.0)
    return Point(load, load.server.running or 0.0, generated, " by the server's own counter")


def _slope(points: Iterable[Point]) -> Slope | None:
    """Compare the largest batch measured with the largest one that is sufficiently smaller; None without two.

    Where that is too near for its noise, with the next smaller one at which throughput was nearly the same. It grows
    ever more slowly with the batch, so what is flat on average is flat at the end. Levels that ran out of memory are
    left out: their throughput shows that, and work done twice.
    """
    known = [point for point in points if point.tokens_per_s and point.batch > 0 and not point.load.out_of_memory]
    if not known:
        return None
    high = max(known, key=lambda point: point.batch)
    smaller = [point for point in known if point.batch * COMPARABLE <= high.batch]
    if not smaller:
        return None
    slopes = [_between(low, high) for low in sorted(smaller, key=lambda point: -point.batch)]
    nearest = slopes[0]
    return next((slope for slope in slopes if slope.is_flat), nearest) if nearest.is_noisy else nearest


def _between(low: Point, high: Point) -> Slope:
    stretch = math.log(high.batch / low.batch)
    errors = (low.load.tokens_error, high.load.tokens_error)
    error = None if None in errors else math.hypot(*(e or 0.0 for e in errors)) / stretch
    return Slope(low, high, math.log(high.tokens_per_s / low.tokens_per_s) / stretch, error)


def ceiling(facts: Facts) -> Ruling:
    """By the server's own figures, throughput hardly grows with the batch: the hardware is at its limit."""
    rule = "ceiling"
    if not any(load.server.running for load in facts.loads):
        needs = needed_metrics(facts, "requests running", "running")
        return unknown(rule, "How many requests the server runs at once is not known.", needs)
    found = server_slope(facts.loads)
    if found is None:
        return _nothing_to_compare(rule)
    if ruling := _not_flat(facts, rule, found):
        return ruling
    low, high = found.low.load, found.high.load
    if high.gpus.calm:
        return _calm_gpu(found)
    slower = math.log(high.tpot / low.tpot) / found.stretch >= 1 - MIN_RISING if low.tpot and high.tpot else None
    grade = graded(
        {"throughput flat well beyond noise": found.is_well_flat},
        {
            "clients see each reply slow down as the batch grows": slower,
            "the GPU worked nearly all the time": high.gpus.busy,
        },
    )
    label = "the hardware's throughput is used up"
    why = _grew(found) + (" The GPU drew all the power that its limit allows." if high.gpus.at_power_limit else "")
    shown = (*_shown(found), *facts_of_gpu(high.users, high.gpus.busiest))
    return holds(rule, why, label, grade, HARDWARE_LIMIT, shown, _reached(facts))


def _calm_gpu(found: Slope) -> Ruling:
    """A GPU with time to spare is not what limits the server, whatever its throughput does."""
    load = found.high.load
    top = load.gpus.busiest
    busy = percent(top.utilisation if top else None)
    why = (
        f"{_grew(found)} But at {things(load.users, 'user')} the busiest GPU worked only {busy} of the time: something"
    )
    why += " else on the server is the limit, such as its CPU, or a single process that feeds the GPU."
    needs = "the server's CPU usage by process and core, during a run"
    return unknown("ceiling", why, needs, *_shown(found), *facts_of_gpu(load.users, top))


def throughput_limit(facts: Facts) -> Ruling:
    """Without the server's own figures: clients together receive no more tokens at more users."""
    rule = "throughput_limit"
    if any(load.server.running for load in facts.loads):
        return deferred(rule, "The server's own figures tell more", "ceiling")
    found = client_slope(facts.loads)
    if found is None:
        return _nothing_to_compare(rule)
    if ruling := _not_flat(facts, rule, found):
        return ruling
    grade = graded({"throughput flat well beyond noise": found.is_well_flat}, {})
    label = "throughput no longer grows, in the server or in front of it"
    return holds(rule, _grew(found), label, grade, SOME_LIMIT, _shown(found), _reached(facts))


def _nothing_to_compare(rule: str) -> Ruling:
    needs = "streamed replies at two levels with different batch sizes"
    return unknown(rule, "There are no two batch sizes to compare.", needs)


def _not_flat(facts: Facts, rule: str, found: Slope) -> Ruling | None:
    """Return why throughput is not flat for sure; None where it is."""
    shown, grew = _shown(found), _grew(found)
    if found.power > MAX_FLAT and found.hides_plateau:
        return unknown(rule, f"{grew} {UNSEEN}", found.level_between, *shown)
    if found.is_rising:
        return absent(rule, grew, *shown)
    doubt, needs = _doubt(facts, found)
    return unknown(rule, f"{grew} {doubt}", needs, *shown) if doubt else None


def _doubt(facts: Facts, found: Slope) -> tuple[str, str]:
    """Return what speaks against a limit, and what would be needed to know; empty where nothing does."""
    both, margin = [found.low.load, found.high.load], found.margin
    if found.power > MAX_FLAT:
        return "That is within noise.", longer_levels(both, margin / (found.power - MAX_FLAT / 2))
    if _pauses(found.high.load):
        needs = needed_metrics(facts, "KV-cache usage and preemptions", "kv_usage")
        return "But replies paused in mid-answer, as they do with a full KV cache.", needs
    if found.is_noisy:
        too_large = USUALLY_TOO_LARGE if found.error is None else margin / (MIN_RISING - found.power)
        return "The levels are too short to tell how steady that is.", longer_levels(both, too_large)
    if found.power + margin < 0:
        return "It fell, which a limit does not explain.", "the levels in another order"
    drift = facts.drift
    later = max(0.0, found.apart)  # had the larger batch come first, slowing down would have made throughput grow
    slower = 0.0 if drift is None else (drift.rate + NOISE_SIGMA * drift.error) * later / found.stretch
    likely = drift is not None and drift.rate > NOISE_SIGMA * drift.error and found.power + slower > MAX_FLAT
    if likely or (slower > margin and found.power + slower > MIN_RISING):
        needs = f"a second visit to the smaller level, or {longer_levels(both)}"
        return "But the server may have slowed down over time by as much.", needs
    return "", ""


def _grew(found: Slope) -> str:
    more = decimals(found.high.tokens_per_s / found.low.tokens_per_s)
    larger = decimals(found.high.batch / found.low.batch)
    return f"{larger} times the batch size brought {more} times the tokens per second."


def _shown(found: Slope) -> tuple[Fact, ...]:
    at_low, at_high = (f"at {things(point.load.users, 'user')}" for point in (found.low, found.high))
    return (
        Fact(f"throughput {at_low}{found.low.source}", found.low.tokens_per_s, "tokens/s"),
        Fact(f"throughput {at_high}{found.high.source}", found.high.tokens_per_s, "tokens/s"),
        Fact(f"mean batch size {at_low}", found.low.batch, "replies"),
        Fact(f"mean batch size {at_high}", found.high.batch, "replies"),
        Fact("factor in tokens/s from doubling the batch", 2**found.power, ""),
    )


def _reached(facts: Facts) -> int:
    """Return the fewest users that brought nearly the highest throughput."""
    most = max(load.tokens_per_s or 0.0 for load in facts.loads)
    return next(load.users for load in facts.loads if (load.tokens_per_s or 0.0) >= AT_CEILING * most)


def _pauses(load: Load) -> bool:
    """Tell whether replies that seem to be running may be preempted, where the KV-cache usage is not known."""
    gap, token = load.longest_gap, load.tpot
    if load.kv_max is not None or gap is None:
        return False
    return gap >= MIN_PREEMPTION_PAUSE_S and gap >= PAUSE_TOKENS * (token or 0.0)
