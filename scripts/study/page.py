"""The study's tables as a page of markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from probe_ext.load.sequential_test import ALPHA, GLANCE, Bounds
from probe_ext.verdict.inference.bootstrap import CONFIDENCE
from scripts.study import coverage, effort
from scripts.study.servers import cases
from scripts.study.truth import LONG, chat

Rows = Sequence[dict[str, Any]]

HEAD = """# How far the verdict and the search can be trusted

Made by `make study`; do not edit. {made}

Whole runs on virtual time: simulated people in a closed loop around the simulated server's engine, judged by the
verdict as any run is, with the profile `chat`. The marks of a reply are the engine's own, so this studies the
judgement, not the ruler. The truth is the highest number of users of whose replies at least 90 % are served, and at
most 1 % broken, when they are held for {minutes:.0f} minutes: these people are all alike, so in the long run each of
them is served as often as all are. Every run can be made again from its seed.
"""
COVERAGE = """
## Does the interval hold what is true?

{runs} runs a case, seeds {first} to {last}. Each sweep holds its levels for the time given (`--hold`).
*Covers*: the interval holds the truth; {claimed:.0f} % are claimed, and the range is that of the binomial
distribution (Wilson, 95 %). *Exact*: the bare figure is the best that the sweep's levels allow. *Too much*: the
bare figure lies above the truth. *Two agree*: their intervals overlap, runs taken in pairs; two
honest ones do in at least {overlap:.0f} % of cases. *One level narrower*: how many intervals would still hold the truth
if their lower end were the next higher level of the sweep; if their upper end were below the next lower one.

Where the boundary is soft, the bare figure leans to the safe side: of a user's few replies in a short level, chance
alone leaves fewer than nine in ten served now and then, although in the long run they are. The interval allows for
that.

| server | hold | levels | truth | covers | misses above, below | users in it | one level narrower | exact | too much |\
 two agree |
|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|
"""
AGAIN = """
Of all intervals {covered} of {given} hold the truth: {than} claimed. {same} of {judged} runs that were
judged a second time gave the same `capacity.json`, to the last digit.

{narrower}

Servers marked *held out* were not looked at while the verdict and the search were tuned.

| server | what it is | served replies at the truth, and with one user more |
|---|---|---|
"""
NARROWER = """Why more than claimed? An interval ends at measured levels. What lies between the highest that held
and the lowest that failed was not measured and is never ruled out; where two levels differ clearly, every run finds
the same two, holds the truth always, and can state nothing narrower. With the lower end one level higher, {later} of
the intervals would still hold the truth; with the upper end one level lower, {sooner}. Where that is above
{claimed}, the interval is wider than it had to be on these servers: in short levels it allows for queues that swing
more slowly than the level lasts, and theirs do not.
"""
EFFORT = """
## The search beside fixed sweeps

{runs} runs a case and way, seeds {first} to {last}, default options. The *fine sweep* holds levels as close to
each other as the search's ends are when it is over, and stops after the second level above the truth, as if
somebody had told it where that is; the *doubling sweep* holds 1, 2, 4, … up to the first above it. *Error* is
the mean distance of the bare figure from the truth, in parts of it.

| server | truth | way | minutes, median (most) | answer, median (range) | users in the interval | covers | error |
|---|---:|---|---:|---:|---:|---:|---:|
"""
PROVEN = """
Of all searches {closed} of {searches} ended with both ends of the bracket proven, {enclosed} more with the next levels
beyond it proven and what could not be decided named, {open} with an open end. They proved {proven} levels, each
with an error of at most {alpha:g} % by the test's bounds (levels on the way: {glance:g} %). {wrong} The verdict, which
judges the run when it is over, says otherwise of {differs} of the proven levels.
"""


def page(found: Mapping[str, Rows], made: str) -> str:
    """The whole page."""
    return HEAD.format(made=made, minutes=LONG / 60) + _coverage(found["coverage"]) + _effort(found["effort"])


def _left_out(rows: Rows) -> str:
    """The servers that these rows do not have; nothing where all are there."""
    missing = [case.name for case in cases() if case.name not in {one["case"] for one in rows}]
    return f"\nNot studied yet: {', '.join(missing)}.\n" if missing else ""


def _coverage(rows: Rows) -> str:
    runs = rows[0]["runs"]
    text = COVERAGE.format(
        runs=runs,
        first=coverage.SEEDS,
        last=coverage.SEEDS + runs - 1,
        claimed=100 * CONFIDENCE,
        overlap=100 * CONFIDENCE**2,
    )
    text += "".join(_coverage_line(one) for one in sorted(rows, key=lambda one: -float(one["hold"])))
    text += _left_out(rows)
    once = [one for one in rows if one["hold"] == coverage.HOLDS[0]]
    covered, given = sum(o["covered"] for o in rows), sum(o["answered"] for o in rows)
    text += AGAIN.format(
        covered=covered,
        given=given,
        than="no fewer than" if covered >= CONFIDENCE * given else "fewer than",
        same=sum(o["same_again"] for o in rows),
        judged=sum(o["judged_again"] for o in rows),
        narrower=_narrower(rows),
    )
    return text + "".join(_server_line(one) for one in once)


def _narrower(rows: Rows) -> str:
    """How much of what an interval covers beyond its claim is the steps that it moves in."""
    given = sum(one["answered"] for one in rows)
    later, sooner = (_part(sum(one[end] for one in rows), given) for end in ("lower_later", "upper_sooner"))
    return NARROWER.format(claimed=f"{100 * CONFIDENCE:.0f} %", later=later, sooner=sooner).strip()


def _coverage_line(one: dict[str, Any]) -> str:
    low, high = wilson(one["covered"], one["answered"])
    levels = ", ".join(str(n) for n in one["sweep"])
    covers = f"{_part(one['covered'], one['answered'])} ({100 * low:.0f}–{100 * high:.0f} %)"
    return _line(
        one["case"],
        f"{one['hold']:.0f} s",
        levels,
        one["truth"]["held"]["users"],
        covers,
        f"{_part(one['above'], one['answered'])}, {_part(one['below'], one['answered'])}",
        f"{one['width']:.1f}",
        f"{_part(one['lower_later'], one['answered'])}, {_part(one['upper_sooner'], one['answered'])}",
        _part(one["exact"], one["runs"]),
        _part(one["too_many"], one["runs"]),
        _part(one["overlap"], one["pairs"]),
    )


def _server_line(one: dict[str, Any]) -> str:
    held, failed = one["truth"]["held"], one["truth"]["failed"]
    told = f"{held['users']}: {100 * held['served']:.1f} %; {failed['users']}: {100 * failed['served']:.1f} %"
    out = {case.name for case in cases() if case.held_out}
    return _line(one["case"], one["what"] + ("; held out" if one["case"] in out else ""), told)


def _effort(rows: Rows) -> str:
    runs = rows[0]["runs"]
    text = EFFORT.format(runs=runs, first=effort.SEEDS, last=effort.SEEDS + runs - 1)
    text += "".join(_effort_line(one) for one in rows)
    text += _left_out(rows)
    searches = [one for one in rows if one["way"] == "search"]
    wrong = [{**bad, "case": one["case"]} for one in searches for bad in one["wrong"]]
    return text + PROVEN.format(
        closed=sum(one["closed"] for one in searches),
        enclosed=sum(one["enclosed"] for one in searches),
        open=sum(one["runs"] - one["closed"] - one["enclosed"] for one in searches),
        differs=sum(one["differs"] for one in searches) or "none",
        searches=sum(one["runs"] for one in searches),
        proven=sum(one["proven"] for one in searches),
        alpha=100 * ALPHA,
        glance=100 * GLANCE,
        wrong=_wrong(wrong),
    )


def _effort_line(one: dict[str, Any]) -> str:
    return _line(
        one["case"],
        one["truth"],
        one["way"],
        f"{one['minutes']:.1f} ({one['minutes_max']:.1f})",
        f"{one['users']:g} ({one['users_low']}–{one['users_high']})",
        "–" if one["width"] is None else f"{one['width']:.1f}",
        _part(one["covered"], one["answered"]),
        f"{100 * one['error']:.0f} %",
    )


def _wrong(wrong: Rows) -> str:
    """Proven levels that are otherwise in the long run; an error is one that the test's stated rate is about."""
    if not wrong:
        return "None of them is otherwise in the long run."
    worst = Bounds(chat().users.served_share, chat().users.broken_share).held_worst
    errors = sum(one["state"] == "failed" or one["served"] <= worst for one in wrong)
    times = Counter((one["case"], one["users"], one["state"], one["served"]) for one in wrong)
    told = "; ".join(
        f"{case}, {users} users called {state} ({n} times), where {100 * served:.1f} % of the replies are served"
        for (case, users, state, served), n in times.items()
    )
    return f"{len(wrong)} of them are otherwise in the long run, {errors} of these beyond the test's bounds: {told}."


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Between which shares the true one lies, at 95 %."""
    if not of:
        return 0.0, 1.0
    z, p = 1.96, hits / of
    middle, half = p + z * z / (2 * of), z * sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)


def _part(hits: int, of: int) -> str:
    return f"{100 * hits / of:.0f} %" if of else "–"


def _line(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |\n"
