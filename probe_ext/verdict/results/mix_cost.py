"""What one user of a kind costs in users of another: from visits with different mixes of the kinds.

If a user of kind B loads the server as k users of kind A do, the served share of either kind falls with the load
x = A + k B, A and B being users of each kind. For each k of a grid, curves of that form are fitted to the visits:

    log odds = a − b x,   log odds = a − b log x,   unserved share = 1 − exp(−exp(a + b x))

The interval is the hull of all k that the likelihood ratio does not reject under any curve that fits (as for the
capacity, see `capacity_curve`). Other kinds enter the linear curves with slopes of their own. Kinds that share a server
share its moments, so the replies of J kinds count as those of one: each has a J-th of its weight.

Where the mix does not vary, k is not in the data: a fixed number of B, or a fixed share, moves along one line, and any
k fits. Nothing is said then, nor where the interval is open at either end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.inference.dispersion import Pooled, level_factors, pool, visit_sums
from probe_ext.verdict.inference.observations import Visit, level_of
from probe_ext.verdict.inference.quantiles import f_quantile, log_likelihood, student_quantile

MIN_COST, MAX_COST, COSTS = 1 / 64, 64.0, 61
AROUND_BEST, FINE_COSTS = 15, 61
"""Costs around the best one of each curve, and over the interval, which may be narrower than a step of the others."""
MIN_SHARE_RANGE = 0.10
"""Of the users of both kinds, by which the share of one must vary between visits."""
MIN_SPREAD = 1.0
"""Users, standard deviation: how far the number of one kind must vary beside the others, or rounding makes the mix."""
TWO_SIDED, FIT_LEVEL = 0.975, 0.80
STEPS, RIDGE, MAX_PREDICTOR = 25, 1e-6, 30.0


@dataclass(frozen=True)
class MixCost:
    """One user costs as much as so many of another kind; a 95 % interval."""

    users: float
    low: float
    high: float


@dataclass(frozen=True)
class _Response:
    """Served replies of one kind by visit, worth that of independent ones."""

    good: Floats
    of: Floats
    pooled: Pooled


def mix_cost(users: Sequence[Sequence[Visit]], kind: int, reference: int, limit: float) -> MixCost | None:
    """Return what one user of `kind` costs in users of `reference`; None where the visits do not tell.

    `users`: for each kind its visits, the same levels in the same order. `limit`: the share that is needed.
    """
    counts = np.array([[float(visit.people or 0) for visit in visits] for visits in users])
    both = counts[kind] + counts[reference] > 0
    counts = counts[:, both]
    if not _varies(counts, kind, reference):
        return None
    kept = [[visit for visit, keep in zip(visits, both, strict=True) if keep] for visits in users]
    responses = [response for visits in kept if (response := _response(visits, limit, len(users))) is not None]
    others = np.delete(counts, [kind, reference], axis=0)
    costs = np.geomspace(MIN_COST, MAX_COST, COSTS)
    nu = min((response.pooled.nu for response in responses), default=1.0)
    critical = student_quantile(TWO_SIDED, max(3.0, nu))
    curves = [_linear_odds, _log_odds, _linear_hazard] if not len(others) else [_linear_odds, _linear_hazard]
    freedom = sum(int((response.of > 0).sum()) - 2 - len(others) for response in responses) - 1
    if freedom <= 0:
        return None

    def deviances(costs: Floats) -> Floats:
        loads = [counts[reference] + cost * counts[kind] for cost in costs]
        return np.array([[sum(curve(x, others, one) for one in responses) for x in loads] for curve in curves])

    best = np.argmin(deviances(costs), axis=1)
    costs = np.unique(np.append(costs, [_between(costs, place, place, AROUND_BEST) for place in best]))
    rough = deviances(costs)
    accepted = _accepted(_excess(rough, rough, freedom, nu, len(users)), critical)
    if accepted is None:
        return None
    fine = _between(costs, *accepted, FINE_COSTS)
    closer = deviances(fine)
    return _interval(fine, _excess(closer, np.hstack([rough, closer]), freedom, nu, len(users)), critical)


def _between(costs: Floats, first: int, last: int, number: int) -> Floats:
    """Return so many costs from the one before the first to the one after the last: a step may be too coarse."""
    return np.geomspace(costs[max(0, first - 1)], costs[min(len(costs) - 1, last + 1)], number)


def _excess(deviance: Floats, known: Floats, freedom: int, nu: float, kinds: int) -> Floats | None:
    """Return by how much each cost fits worse than the best one, under the curve that allows it most.

    `deviance`, `known`: by curve and cost; the best fit of a curve is that among `known`. None where no curve fits.
    """
    best = known.min(axis=1, keepdims=True)
    fits = best[:, 0] <= freedom * f_quantile(FIT_LEVEL, freedom, max(3.0, nu))
    if not fits.any():
        return None
    # What the curve misses although it fits widens the interval.
    return np.asarray(((deviance - best) / np.maximum(1.0, kinds * best / freedom))[fits].min(axis=0))


def _accepted(excess: Floats | None, critical: float) -> tuple[int, int] | None:
    """Return the first and last cost that is not rejected; None where there is no end on either side."""
    if excess is None:
        return None
    found = np.flatnonzero(excess <= critical**2)
    return None if found[0] == 0 or found[-1] == len(excess) - 1 else (int(found[0]), int(found[-1]))


def _interval(costs: Floats, excess: Floats | None, critical: float) -> MixCost | None:
    """Return the hull of what is not rejected, and the median of the likelihood; costs in equal ratios."""
    accepted = _accepted(excess, critical)
    if accepted is None or excess is None:
        return None
    scale, root = np.log(costs), np.sqrt(excess)
    likelihood = np.exp(-excess / 2)
    below = np.append(0.0, np.cumsum((likelihood[1:] + likelihood[:-1]) / 2))
    middle = np.interp(0.5, below / below[-1], scale)
    low, high = (
        np.interp(critical, root[[inside, outside]], scale[[inside, outside]])
        for inside, outside in ((accepted[0], accepted[0] - 1), (accepted[1], accepted[1] + 1))
    )
    return MixCost(float(np.exp(np.clip(middle, low, high))), float(np.exp(low)), float(np.exp(high)))


def _varies(counts: Floats, kind: int, reference: int) -> bool:
    """Whether the mix of two kinds varies, beyond rounding and beyond what the other kinds explain."""
    if counts.shape[1] < len(counts) + 2:
        return False
    share = counts[kind] / (counts[kind] + counts[reference])
    if np.ptp(share) < MIN_SHARE_RANGE:
        return False
    rest = np.vstack([np.ones(counts.shape[1]), np.delete(counts, kind, axis=0)])
    fitted = rest.T @ np.linalg.lstsq(rest.T, counts[kind], rcond=None)[0]
    return float(np.std(counts[kind] - fitted)) >= MIN_SPREAD


def _response(visits: Sequence[Visit], limit: float, kinds: int) -> _Response | None:
    """Return the replies of one kind; None where all or none of them were served, which tells nothing."""
    sums = visit_sums([level_of(visit.users, [visit]) for visit in visits])
    served, replies = sums.by_level(sums.hits), sums.by_level(sums.replies)
    if not 0 < served.sum() < replies.sum():
        return None
    pooled = pool(sums, limit)
    worth = kinds * level_factors(sums, pooled)
    return _Response(served / worth, replies / worth, pooled)


def _linear_odds(load: Floats, others: Floats, response: _Response) -> float:
    return _deviance(load, others, response, _logistic)


def _log_odds(load: Floats, others: Floats, response: _Response) -> float:
    return _deviance(np.log(np.maximum(load, 1e-9)), others, response, _logistic)


def _linear_hazard(load: Floats, others: Floats, response: _Response) -> float:
    return _deviance(load, others, response, _gompertz)


def _logistic(predictor: Floats) -> tuple[Floats, Floats]:
    """Return the served share and its derivative."""
    share = 1 / (1 + np.exp(predictor))
    return share, -share * (1 - share)


def _gompertz(predictor: Floats) -> tuple[Floats, Floats]:
    hazard = np.exp(np.minimum(predictor, 5.0))
    share = np.exp(-hazard)
    return share, -hazard * share


_Link = Callable[[Floats], tuple[Floats, Floats]]


def _deviance(load: Floats, others: Floats, response: _Response, link: _Link) -> float:
    """Return twice the log likelihood that the best curve lacks; a share never rises with the load."""
    known = response.of > 0
    columns = [np.ones(int(known.sum())), *(row[known] for row in others)]
    centred = load[known] - load[known].mean()
    scale = max(float(np.std(centred)), 1e-9)
    beta, deviance = _fit(np.column_stack([*columns, centred / scale]), response, known, link)
    return deviance if beta[-1] >= 0 else _fit(np.column_stack(columns), response, known, link)[1]


def _fit(design: Floats, response: _Response, known: Bools, link: _Link) -> tuple[Floats, float]:
    """Fit a generalized linear model by Fisher scoring; the predictor rises as the served share falls."""
    good, of = response.good[known], response.of[known]
    beta = np.zeros(design.shape[1])
    share = float(np.clip(good.sum() / of.sum(), 0.01, 0.99))
    beta[0] = np.log((1 - share) / share) if link is _logistic else np.log(-np.log(share))
    best, kept = np.inf, beta
    for _ in range(STEPS):
        predictor = np.clip(design @ beta, -MAX_PREDICTOR, MAX_PREDICTOR)
        p, slope = link(predictor)
        p = np.clip(p, 1e-9, 1 - 1e-9)
        deviance = 2 * float((log_likelihood(good / of, good, of) - log_likelihood(p, good, of)).sum())
        if deviance < best - 1e-7:
            best, kept = deviance, beta
        elif deviance > best + 1e-7:
            beta = (beta + kept) / 2
            continue
        else:
            break
        weight = of * slope**2 / (p * (1 - p))
        score = design.T @ ((good - of * p) * slope / (p * (1 - p)))
        information = design.T @ (design * weight[:, None]) + RIDGE * np.eye(design.shape[1])
        beta = kept + np.linalg.solve(information, score)
    return kept, best
