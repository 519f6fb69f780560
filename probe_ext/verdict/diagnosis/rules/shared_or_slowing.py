"""Did the server work for others, or slow down by itself? Then its figures are not those of this load."""

from dataclasses import replace

from probe_ext.verdict.checks.other_load import REPEAT_ALONE
from probe_ext.verdict.checks.server_checks import MAX_REPLIES_APART
from probe_ext.verdict.diagnosis.facts.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.facts.gpu_signs import facts_of_gpu, throttled, why_throttled
from probe_ext.verdict.diagnosis.facts.level_load import Load
from probe_ext.verdict.diagnosis.rules.ruling import absent, graded, holds, longer_levels, needed_metrics, unknown
from probe_ext.verdict.diagnosis.rules.throughput import NOISE_SIGMA
from probe_ext.verdict.phrasing.formats import decimals, percent
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.values.ruling_types import Fact, Ruling

MIN_OTHER_SHARE = 0.05
"""Of the requests that the server finished."""
MIN_OTHER_IN_FLIGHT, MIN_SHARE_IN_FLIGHT = 1.5, 0.2
"""Requests at the server beyond those of this run, more than gauges of idle engines show; share of this run's."""
MIN_SLOWDOWN = 1.2
"""Time per token at the end of the levels over that at their start, at the same load."""
MIN_SIGMA = 4.0
"""Standard errors of the drift."""
MAX_PROMPT_RATIO = 1.2
"""Mean prompt of one level over that of another."""
COOLER = (
    "Check the GPU's clock, temperature and power limit during the run (nvidia-smi -q -d PERFORMANCE), and what else "
    "runs on the machine. Then repeat the run."
)
COOLER_GPU = (
    "Improve the cooling of the GPU, or lock its clock to what it can sustain (nvidia-smi -lgc), so that figures "
    "repeat. Then repeat the run: these figures are those of a hot GPU."
)
MORE_POWER = (
    "Raise the GPU's power limit if power supply and cooling allow it (nvidia-smi -pl), or lock its clock to what it "
    "can keep (nvidia-smi -lgc), so that figures repeat."
)
MIN_RISING = 0.5
"""Share of the numbers of users."""


def other_load(facts: Facts) -> Ruling:
    """The server had requests that this run did not send."""
    rule, totals = "other_load", facts.totals
    gauged = [load for load in facts.loads if load.server.in_flight is not None]
    if totals.server_replies is None and not gauged:
        needs = needed_metrics(
            facts, "requests finished, running and waiting", "requests_finished", "running", "waiting"
        )
        return unknown(rule, "Whether others used the server is not known.", needs)
    shown, share, finished = [], 0.0, totals.server_replies
    if finished is not None:
        extra = finished - totals.sent
        share = extra / finished if extra > MAX_REPLIES_APART else 0.0
        shown += [Fact("requests finished by the server", finished, "requests")]
        shown += [Fact("requests sent by this run", float(totals.sent), "requests")]
    crowded = [load for load in gauged if _more_at_server(load)]
    if crowded:
        top = crowded[-1]
        shown.append(
            Fact(f"mean of requests at the server, at {things(top.users, 'user')}", top.server.in_flight, "requests")
        )
        shown.append(Fact("mean of replies in flight for this run", top.crowd.in_flight, "replies"))
    of_levels = [level.others.share for level in facts.crowded if level.others]
    if of_levels:
        shown.append(Fact("others' share of the server's work in a level, at least", max(of_levels), "fraction"))
    if share < MIN_OTHER_SHARE and not crowded and not of_levels:
        return absent(
            rule, "No other requests were at the server. Load of other programs on its machine is not seen.", *shown
        )
    many = None if finished is None else share >= MIN_OTHER_SHARE
    grade = graded(
        {},
        {
            "it finished more requests than this run sent": many,
            "more requests ran or waited than this run had": bool(crowded) or None,
            "its counters grew in a level by more than this run's requests": bool(of_levels) or None,
        },
    )
    why = (
        f"{percent(share)} of the requests that the server finished were not from this run."
        if share >= MIN_OTHER_SHARE
        else "More requests were at the server than this run had in flight."
        if crowded
        else "In some levels the server did more than this run asked for."
    )
    return holds(rule, why, "the server had other load as well", grade, REPEAT_ALONE, shown)


def _more_at_server(load: Load) -> bool:
    extra = (load.server.in_flight or 0.0) - load.crowd.in_flight
    idle = max(0, len(load.engines) - 1)
    return extra >= max(MIN_OTHER_IN_FLIGHT + idle, MIN_SHARE_IN_FLIGHT * load.crowd.in_flight)


def throttling(facts: Facts) -> Ruling:
    """The server slowed down over time although its load did not change, or its GPU says that it is throttled."""
    slower = _slower_over_time(facts)
    hits = [hit for load in facts.loads if (hit := throttled(load.users, load.gpus)) is not None]
    if not hits:
        return slower
    hit = max(hits, key=lambda hit: (hit.cause == "heat", hit.dropped, hit.users))
    drifted = slower.state == "holds"
    grade = graded(
        {"its clock was seen to fall": True if hit.dropped and hit.reported else None},
        {
            "the time per token grew over the run": True if drifted else None,
            "at several levels": True if len(hits) > 1 else None,
        },
    )
    label = "the GPU is throttled by " + ("its temperature" if hit.cause == "heat" else "its power limit")
    why = why_throttled(hit) + (f" {slower.why}" if drifted else "")
    evidence = (*facts_of_gpu(hit.users, hit.state), *(slower.evidence if drifted else ()))
    advice = COOLER_GPU if hit.cause == "heat" else MORE_POWER
    return holds("throttling", why, label, grade, advice, evidence, min(found.users for found in hits))


def _slower_over_time(facts: Facts) -> Ruling:
    rule, drift = "throttling", facts.drift
    if drift is None or drift.source != "server":
        needs = needed_metrics(facts, "the server's time per token", "itl_count")
        return unknown(rule, "How the server's speed changed over time is not known.", needs)
    seconds = max(load.t_end for load in facts.loads) - min(load.t_start for load in facts.loads)
    factor = drift.factor(seconds)
    if any(load.out_of_memory for load in facts.loads):
        why = "Preempted replies change the time per token, so it does not show whether the server slowed down."
        return unknown(rule, why, "levels without preemptions")
    if factor < MIN_SLOWDOWN or drift.rate < MIN_SIGMA * drift.error or drift.rising < MIN_RISING:
        at_most = replace(drift, rate=drift.rate + NOISE_SIGMA * drift.error).factor(seconds)
        if at_most < MIN_SLOWDOWN:
            return absent(rule, "With the users unchanged, the time per token did not grow.")
        why = "With the users unchanged, the time per token did not grow beyond noise, but the noise is too large to"
        longest = max(facts.loads, key=lambda load: load.t_end - load.t_start)
        return unknown(rule, f"{why} rule out growth by {percent(MIN_SLOWDOWN - 1)}.", longer_levels([longest]))
    shown = [Fact("time per token at the end of the run over that at its start, at a like load", factor, "")]
    prompts = [load.prompt_whole for load in facts.loads if load.prompt_whole]
    if prompts and max(prompts) > MAX_PROMPT_RATIO * min(prompts):
        why = "The time per token grew, but prompts did not stay the same."
        return unknown(rule, why, "prompts of the same length throughout", *shown)
    clients = facts.client_drift
    agree = None if clients is None else clients.rate > 2 * clients.error
    clocks = [load.gpus.steady_clock for load in facts.loads if load.gpus.steady_clock is not None]
    grade = graded(
        {"at every number of users": drift.rising == 1},
        {
            "clients received ever fewer tokens per second": agree,
            "the GPU's clock fell": False if clocks and all(clocks) else None,
        },
    )
    why = f"With the users unchanged, each token took longer and longer: {decimals(factor)} times as long over the run."
    return holds(rule, why, "the server slows down over time (throttling)", grade, COOLER, shown)
