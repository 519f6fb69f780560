"""Is the limit in front of the server: a gateway that holds requests back, a quota, or a slow path?"""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from probe_ext.verdict.diagnosis.facts.concurrency import CROWDED
from probe_ext.verdict.diagnosis.facts.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.facts.level_load import COMPARABLE, Load, mean
from probe_ext.verdict.diagnosis.rules.ruling import absent, graded, holds, longer_levels, needed_metrics, unknown
from probe_ext.verdict.phrasing.formats import decimals, percent, seconds
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.values.ruling_types import Fact, Ruling

MIN_REJECTED, MIN_REJECTIONS = 0.05, 3
"""Share of the replies sent at a level, and their number."""
MIN_HELD_BACK = 0.3
"""Share of the replies in flight that the server does not have."""
MAX_GROWTH = 0.5
"""Requests at the server as a power of those in flight."""
MIN_PATH_S, MIN_PATH_SHARE = 0.1, 0.5
"""Time on the way, in seconds and as a share of the wait for the first word, at the lightest level."""
MANY_SIGMA = 3.0
"""Standard errors: rejected users ask again soon, so rejections come together, and several levels are compared."""
SAME_RATE = 1.25
"""Ratio of two rates that count as the same."""
BEHIND_IT = (
    "Raise the limit of what stands in front of the server (a gateway, a proxy, a rate limit), or measure behind it. "
    "The server itself has room."
)
NEARER = (
    "Measure from where the users are, or from near the server to leave the network out. A tunnel, a proxy or a "
    "distant region adds this to every first word."
)


def quota(facts: Facts) -> Ruling:
    """Requests beyond a limit are rejected with HTTP 429."""
    rule = "quota"
    if not facts.loads:
        return unknown(rule, "No level was measured.", "a level")
    top = max(facts.loads, key=lambda load: load.rejected)
    shown = [Fact(f"replies rejected with HTTP 429, at {things(top.users, 'user')}", top.rejected, "fraction")]
    if top.rejected < MIN_REJECTED or top.rejected * top.asked < MIN_REJECTIONS:
        return absent(rule, "Few or no replies were rejected with HTTP 429.", *shown)
    limited = [load for load in facts.loads if load.rejected >= MIN_REJECTED]
    rates = [load.replies_per_s for load in limited]
    same = None if len(rates) < 2 else max(rates) <= SAME_RATE * min(rates)
    if not same and not _more_with_more_users(facts.loads):
        why = f"{percent(top.rejected)} of replies were rejected with HTTP 429, and with fewer users not clearly fewer:"
        why += " this load alone does not reach the limit. Perhaps others use the same API key."
        return unknown(rule, why, "a level with fewer users", *shown)
    waiting = mean(top.gauges.waiting)
    shown.append(
        Fact(f"accepted replies per minute, at {things(top.users, 'user')}", 60 * top.replies_per_s, "replies")
    )
    grade = graded(
        {"as many were accepted at another level": True if same else None},
        {"no request waited at the server": None if waiting is None else waiting < 1},
    )
    why = f"With {things(top.users, 'user')}, {percent(top.rejected)} of replies were rejected with HTTP 429;"
    why += f" {decimals(60 * top.replies_per_s)} a minute were accepted."
    advice = "A rate limit or quota rejects them, in a gateway or the server's own. Raise it, or measure behind it."
    label = "requests beyond a limit are rejected (HTTP 429)"
    return holds(rule, why, label, grade, advice, shown, limited[0].users)


def _more_with_more_users(loads: Sequence[Load]) -> bool:
    """Tell whether the share that is rejected grows with the users by more than chance; of one level, it may."""
    levels = {load.users for load in loads}
    return len(levels) == 1 or any(_more_rejected(low, high) for low, high in combinations(loads, 2))


def _more_rejected(low: Load, high: Load) -> bool:
    if low.users == high.users or not low.asked or not high.asked:
        return False
    both = (low.rejected * low.asked + high.rejected * high.asked) / (low.asked + high.asked)
    error = math.sqrt(both * (1 - both) * (1 / low.asked + 1 / high.asked))
    return high.rejected - low.rejected > MANY_SIGMA * error


def gateway(facts: Facts) -> Ruling:
    """Requests are held back before they reach the server, or their answers behind it."""
    rule = "gateway"
    crowded = [load for load in facts.loads if load.crowd.in_flight >= CROWDED]
    known = [load for load in crowded if load.server.in_flight is not None]
    if not crowded:
        return unknown(rule, "There were never several replies in flight for long.", "a level with several users")
    if not known:
        needs = needed_metrics(facts, "requests running and waiting", "running", "waiting")
        return unknown(rule, "How many requests reach the server is not known.", needs)
    top = known[-1]
    held = top.server.in_flight or 0.0
    share = 1 - held / top.crowd.in_flight
    shown = [
        Fact(f"mean of replies in flight, at {things(top.users, 'user')}", top.crowd.in_flight, "replies"),
        Fact("mean of requests at the server, running or waiting", held, "requests"),
    ]
    if share < MIN_HELD_BACK:
        return absent(rule, "The server has nearly all requests that are in flight.", *shown)
    lower = [
        load
        for load in facts.loads
        if load.server.in_flight and load.crowd.in_flight * COMPARABLE <= top.crowd.in_flight
    ]
    if not lower:
        why = f"{percent(share)} of the requests in flight are not at the server."
        return unknown(rule, why, "a level with fewer users", *shown)
    near = lower[-1]
    shown.append(Fact(f"the same at {things(near.users, 'user')}", near.server.in_flight, "requests"))
    power = (
        math.log(held / (near.server.in_flight or 1.0)) / math.log(top.crowd.in_flight / near.crowd.in_flight)
        if held
        else 0.0
    )
    if power > MAX_GROWTH:
        return absent(rule, "The more users, the more requests reach the server.", *shown)
    waiting = mean(top.gauges.waiting) or 0.0
    rates = (near.replies_per_s, top.replies_per_s)
    grade = graded(
        {"no request waited at the server": waiting < 1},
        {
            "clients received no more replies at more users": max(rates) <= SAME_RATE * min(rates),
            "the GPU had time to spare": top.gpus.calm or None,
        },
    )
    why = f"With {things(top.users, 'user')}, {decimals(top.crowd.in_flight)} replies were in flight but only"
    why += f" {decimals(held)} at the server, as with {near.users}: the others were held back outside it."
    through = things(max(1, round(held)), "request")
    label = f"a gateway in front of the server lets only about {through} through at once"
    return holds(rule, why, label, grade, BEHIND_IT, shown, near.users if _holds_back(near) else top.users)


def _holds_back(load: Load) -> bool:
    return 1 - (load.server.in_flight or 0.0) / load.crowd.in_flight >= MIN_HELD_BACK


def slow_path(facts: Facts) -> Ruling:
    """Much of the wait for the first word is spent on the way to the server and back."""
    rule = "slow_path"
    light = facts.loads[0] if facts.loads else None
    if light is None or not light.ttft_mean:
        return unknown(rule, "The wait for the first word is not known.", "streamed replies")
    own, connect = light.server.ttft, facts.totals.connect
    outside = max(0.0, light.ttft_mean - own if own is not None else connect or 0.0)
    at = things(light.users, "user")
    why = f"At {at}, {seconds(outside)} of {seconds(light.ttft_mean)} until the first word were spent between clients"
    shown = [
        Fact(f"mean wait for the first word, at {at}", light.ttft_mean, "seconds"),
        Fact("of it between clients and server", outside, "seconds"),
    ]
    if outside < MIN_PATH_S or outside < MIN_PATH_SHARE * light.ttft_mean:
        if own is not None:
            return absent(rule, f"{why} and server.", *shown)
        needs = needed_metrics(facts, "the server's own time to the first token", "ttft_count")
        return unknown(rule, "A nearby gateway may hide a longer way to the server.", needs)
    others = [load.ttft_mean - load.server.ttft for load in facts.loads[1:] if load.ttft_mean and load.server.ttft]
    steady = None if not others else float(np.median(others)) >= outside / 2
    if steady is False:
        why += " and server. At more users it was less than half of that, but more load makes no network path shorter."
        return unknown(rule, why, longer_levels([light]), *shown)
    grade = graded(
        {"the same at more users": steady},
        {"connecting takes as long": True if connect and own is not None and connect >= outside / 2 else None},
    )
    every = all(_every_user_waits(load, outside) for load in facts.loads if (load.server.ttft or 0.0) <= outside)
    those = "every first word" if every else "the first word on average, and far less for some users"
    label = f"the path to the server adds {seconds(outside)} to {those}"
    return holds(rule, f"{why} and server.", label, grade, NEARER, shown)


def _every_user_waits(load: Load, outside: float) -> bool:
    """Tell whether the way is as long for the user who waited least; one worker may be farther away than another."""
    return load.ttft_nearest is None or load.ttft_nearest - (load.server.ttft or 0.0) >= outside / 2
