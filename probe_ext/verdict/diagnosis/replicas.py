"""Do several engines behind one address share the load evenly, and work at one speed?"""

import math
from collections.abc import Mapping

import numpy as np

from probe_ext.verdict.diagnosis.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.level_load import EngineLoad, Load
from probe_ext.verdict.diagnosis.ruling import absent, graded, holds, unknown
from probe_ext.verdict.server.server_series import Engine
from probe_ext.verdict.values.formats import decimals, percent
from probe_ext.verdict.values.plurals import things
from probe_ext.verdict.values.ruling_types import Fact, Ruling

MOST_OF_THE_TIME, SELDOM = 0.6, 0.2
"""Shares of samples with a queue: of an engine that is overloaded, and of one that has room."""
MIN_IMBALANCE = 1.25
"""Requests at the busiest engine over those at the least busy one."""
MIN_SLOWNESS = 1.4
"""Time per token of the slowest engine over the median engine."""
MAX_BATCH_RATIO = 1.25
"""Its batch over the median batch: beyond, it is slower because it works on more."""


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
    running = [float(np.nanmean(known[name].gauges.running)) for name in (busy, idle)]
    lower = next((load for load in reversed(facts.loads[:-1]) if busy in load.engines and idle in load.engines), None)
    grade = graded(
        {
            "the same engine had more requests at another level": None
            if lower is None
            else _held(lower.engines[busy]) > _held(lower.engines[idle])
        },
        {"the other engine ran fewer requests": running[1] < running[0]},
    )
    why = f"At {things(top.users, 'user')} one engine had a queue in {percent(queues[busy])} of the time, another in"
    why += f" {percent(queues[idle])}: {decimals(at_busy)} requests against {decimals(at_idle)} on average."
    advice = "Let the load balancer send each request to the engine with the fewest requests; sticky sessions and hashing by user or prefix overload some engines."
    return holds(rule, why, label, grade, advice, shown, top.users)


def slow_replica(facts: Facts) -> Ruling:
    """One engine takes longer for each token than the others, at no larger a batch."""
    rule, label = "slow_replica", "one engine is slower than the others"
    top = _with_engines(facts)
    if top is None:
        return _one_engine(facts, rule)
    slowness = _slowness(top.engines)
    if slowness is None:
        return unknown(rule, "The speed of each engine is not known.", "time per token of each engine")
    name, ratio, batch = slowness
    shown = (
        Fact(f"time per token of the slowest engine over the median, at {things(top.users, 'user')}", ratio, ""),
        Fact("its mean batch over the median", batch, ""),
    )
    if ratio < MIN_SLOWNESS or batch > MAX_BATCH_RATIO:
        return absent(rule, "No engine was slower than the others at a like batch.", *shown)
    again = [found for load in facts.loads[:-1] if (found := _slowness(load.engines)) is not None]
    agree = any(found[0] == name and found[1] >= MIN_SLOWNESS for found in again) if again else None
    tpot = top.tpot_high / top.tpot if top.tpot_high and top.tpot else None
    grade = graded(
        {"the same engine at another level": agree},
        {
            "some replies typed as much more slowly for clients": None
            if tpot is None
            else tpot >= math.sqrt(MIN_SLOWNESS)
        },
    )
    why = f"One of {len(top.engines)} engines took {decimals(ratio)} times as long per token as the median engine."
    advice = "Compare its GPU, clock and temperature, and what else runs on it, with the other engines'."
    return holds(rule, why, label, grade, advice, shown, facts.loads[0].users)


def _with_engines(facts: Facts) -> Load | None:
    return facts.loads[-1] if facts.loads and len(facts.loads[-1].engines) > 1 else None


def _one_engine(facts: Facts, rule: str) -> Ruling:
    if facts.loads and facts.loads[-1].engines:
        return absent(rule, "The metrics show a single engine.")
    return unknown(rule, "Without metrics, engines cannot be told apart.", "the metrics of each engine (--metrics-url)")


def _queued_share(engine: EngineLoad) -> float:
    waiting = engine.gauges.waiting
    return float((waiting[~np.isnan(waiting)] >= 1).mean())


def _held(engine: EngineLoad) -> float:
    return float(np.nanmean(engine.gauges.running)) + float(np.nanmean(engine.gauges.waiting))


def _slowness(engines: Mapping[Engine, EngineLoad]) -> tuple[Engine, float, float] | None:
    """Return the slowest engine, its time per token and its batch over the medians of the others."""
    known = {name: engine for name, engine in engines.items() if engine.itl and np.nansum(engine.gauges.running)}
    if len(known) < 2:
        return None
    name = max(known, key=lambda name: known[name].itl or 0.0)
    others = [engine for other, engine in known.items() if other != name]
    itl = float(np.median([engine.itl or 0.0 for engine in others]))
    batch = float(np.median([np.nanmean(engine.gauges.running) for engine in others]))
    return name, (known[name].itl or 0.0) / itl, float(np.nanmean(known[name].gauges.running)) / batch
