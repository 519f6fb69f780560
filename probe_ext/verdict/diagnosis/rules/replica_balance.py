"""Do several engines behind one address share the load evenly, and work at one speed?"""

from collections.abc import Sequence

import numpy as np

from probe_ext.verdict.diagnosis.facts.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.facts.level_load import EngineLoad, Load, mean
from probe_ext.verdict.diagnosis.rules.ruling import absent, graded, holds, needed_metrics, unknown
from probe_ext.verdict.phrasing.formats import decimals, percent
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.server.server_series import Engine
from probe_ext.verdict.values.ruling_types import Fact, Ruling

MOST_OF_THE_TIME, SELDOM = 0.6, 0.2
"""Shares of samples with a queue: of an engine that is overloaded, and of one that has room."""
MIN_IMBALANCE = 1.25
"""Requests at the busiest engine over those at the least busy one."""
LEAST_BUSY = (
    "Let the load balancer send each request to the engine with the fewest requests. Sticky sessions and hashing by "
    "user or prefix overload some engines."
)
LIKE_BATCH = 1.3
"""Ratio of two batches that are alike."""
MIN_SLOWNESS = 1.4
"""Time per token of the slowest engine over that of the others."""


def uneven_balancer(facts: Facts) -> Ruling:
    """Requests wait for one engine while another has free slots."""
    rule, label = "uneven_balancer", "the load balancer overloads one engine while another has room"
    top = _with_engines(facts)
    if top is None:
        return _one_engine(facts, rule)
    known = {name: engine for name, engine in top.engines.items() if not np.isnan(engine.gauges.waiting).all()}
    if len(known) < 2:
        return unknown(rule, "The queues of the engines are not known.", "waiting requests of each engine")
    queues = {name: _queued_share(engine) for name, engine in known.items()}
    busy, idle = max(queues, key=lambda name: queues[name]), min(queues, key=lambda name: queues[name])
    at_busy, at_idle = _held(known[busy]), _held(known[idle])
    shown = (
        Fact(f"time with a queue at the busiest engine, at {things(top.users, 'user')}", queues[busy], "fraction"),
        Fact("time with a queue at the least busy engine", queues[idle], "fraction"),
        Fact("mean of requests at the busiest engine", at_busy, "requests"),
        Fact("mean of requests at the least busy engine", at_idle, "requests"),
    )
    if queues[busy] < MOST_OF_THE_TIME or queues[idle] > SELDOM or at_busy < MIN_IMBALANCE * at_idle:
        return absent(rule, "No engine had a lasting queue while another had none.", *shown)
    running = [mean(known[name].gauges.running) or 0.0 for name in (busy, idle)]
    lower = next((load for load in reversed(facts.loads[:-1]) if busy in load.engines and idle in load.engines), None)
    again = None if lower is None else _held(lower.engines[busy]) > _held(lower.engines[idle])
    grade = graded(
        {"the same engine had more requests at another level": again},
        {"the other engine ran fewer requests": running[1] < running[0]},
    )
    why = f"At {things(top.users, 'user')} one engine had a queue in {percent(queues[busy])} of the time, another in"
    why += f" {percent(queues[idle])}: {decimals(at_busy)} requests against {decimals(at_idle)} on average."
    return holds(rule, why, label, grade, LEAST_BUSY, shown, top.users)


def slow_replica(facts: Facts) -> Ruling:
    """One engine takes longer for each token than the others do at as large a batch."""
    rule = "slow_replica"
    if _with_engines(facts) is None:
        return _one_engine(facts, rule)
    slowness = _slowness(facts.loads)
    if not slowness:
        needs = "time per token of each engine, at like batches"
        return unknown(rule, "The speed of each engine is not known.", needs)
    name = max(slowness, key=lambda name: np.median(slowness[name]))
    ratio = float(np.median(slowness[name]))
    engines = len(facts.loads[-1].engines)
    shown = (Fact("time per token of the slowest engine over the others', at a like batch", ratio, ""),)
    if ratio < MIN_SLOWNESS:
        return absent(rule, "No engine was slower than the others at a like batch.", *shown)
    spread = [load.tpot_high / load.tpot >= ratio / 1.5 for load in facts.loads if load.tpot_high and load.tpot]
    grade = graded(
        {"at several levels": sum(one >= MIN_SLOWNESS for one in slowness[name]) > 1 or None},
        {"clients saw some replies typed as much more slowly": any(spread) if spread else None},
    )
    why = f"One of {engines} engines took {decimals(ratio)} times as long per token as the others at a like batch."
    advice = "Compare its GPU, clock and temperature, and what else runs on it, with the other engines'."
    return holds(rule, why, "one engine is slower than the others", grade, advice, shown)


def _with_engines(facts: Facts) -> Load | None:
    return facts.loads[-1] if facts.loads and len(facts.loads[-1].engines) > 1 else None


def _one_engine(facts: Facts, rule: str) -> Ruling:
    if facts.loads and facts.loads[-1].engines:
        return absent(rule, "The metrics show a single engine.")
    why = "How many engines share the load is not known."
    return unknown(
        rule, why, needed_metrics(facts, "requests running and waiting of each engine", "running", "waiting")
    )


def _queued_share(engine: EngineLoad) -> float:
    waiting = engine.gauges.waiting
    return float((waiting[~np.isnan(waiting)] >= 1).mean())


def _held(engine: EngineLoad) -> float:
    return (mean(engine.gauges.running) or 0.0) + (mean(engine.gauges.waiting) or 0.0)


def _slowness(loads: Sequence[Load]) -> dict[Engine, list[float]]:
    """Return, level by level, by how much each engine's tokens take longer, at least, than another's at a like batch.

    A token takes longer in a larger batch, at most in proportion to it. Unlike batches count only where there are no
    like ones at any level: a slow engine keeps its requests longer, and so has more of them than the others.
    """
    points = [
        (name, batch, engine.itl)
        for load in loads
        for name, engine in load.engines.items()
        if engine.itl and (batch := mean(engine.gauges.running))
    ]
    like: dict[Engine, list[float]] = {}
    unlike: dict[Engine, list[float]] = {}
    for name, batch, itl in points:
        others = [(max(batch / other, other / batch), other, time) for engine, other, time in points if engine != name]
        if others:
            apart, other, time = min(others)
            found = like if apart <= LIKE_BATCH else unlike
            found.setdefault(name, []).append(itl / (time * max(1.0, batch / other)))
    return unlike | like
