"""The parts of the study: which runs there are, and how each is made from its seed."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from probe_ext.load.boundary_search import SearchPlan
from probe_ext.sim.profile import load_profile
from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.levels.visits import criteria_of
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate
from scripts.study.adapter import estimate_run
from scripts.study.first_range import first_range_row
from scripts.study.random_servers import random_server
from scripts.study.servers import Case, cases
from scripts.study.stated.stated_server import StatedSwarm
from scripts.study.stated.stated_truth import HARD, NEVER, STATED, StatedCase, draw_run, flat, probit, step
from scripts.study.truth import chat, find_truth, needed_share
from scripts.study.virtual.people import People
from scripts.study.virtual.virtual_run import Run, drive, hold_levels, search, search_around

FIRST_SEED = 50_000
CASE_RUNS, STATED_RUNS, HARD_RUNS, RAMP_RUNS, RANDOM_RUNS, SEARCH_RUNS = 200, 200, 200, 30, 300, 100
FIRST_RANGE_RUNS, RANDOM_FIRST_RANGE_RUNS = 20, 100
SEARCH = SearchPlan(hold=30.0, settle=5.0, min_replies=3, max_users=512, longest=1800.0)
"""the defaults"""
ROWS_OF_RANDOM = Path(__file__).parents[2] / "reports" / "runs" / "study" / "random.jsonl"
"""ignored by git"""
RAMP_UP_TO = 1.7
"""of the true boundary"""
RAMP_STEP_S, PLATEAU_S = 2.0, 15.0
"""seconds: between two users of a climb without plateaus; on each plateau of one with them"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One run."""

    part: str
    case: str
    seed: int
    salt: str = ""

    @property
    def key(self) -> tuple[str, str, int, str]:
        return self.part, self.case, self.seed, self.salt


def jobs(part: str, runs: int | None, salt: str) -> list[Job]:
    """All runs of a part."""
    names, count = {
        "cases": ([case.name for case in cases()], CASE_RUNS),
        "stated": ([case.name for case in STATED], STATED_RUNS),
        "hard": ([case.name for case in HARD], HARD_RUNS),
        "ramps": ([case.name for case in cases()[1:]], RAMP_RUNS),
        "random": (["random"], RANDOM_RUNS),
        "stated search": ([case.name for case in SEARCHED], SEARCH_RUNS),
        "search": ([case.name for case in _searched_servers()], SEARCH_RUNS),
        FIRST_RANGE: ([case.name for case in cases()[1:]], FIRST_RANGE_RUNS),
        RANDOM_FIRST_RANGE: (["random servers"], RANDOM_FIRST_RANGE_RUNS),
    }[part]
    randomly = part in {"random", RANDOM_FIRST_RANGE}
    first = 0 if randomly else FIRST_SEED
    salt = salt if randomly else ""
    return [Job(part, name, first + n, salt) for n in range(runs or count) for name in names]


FIRST_RANGE, RANDOM_FIRST_RANGE = "first range", "first range, random servers"
PARTS = ("cases", "stated", "hard", "ramps", "random", "stated search", "search", FIRST_RANGE, RANDOM_FIRST_RANGE)


def run_job(job: Job) -> Row:
    """Make the run, estimate, and note what the page needs."""
    made = dict(_MAKE[job.part](job))
    return {"part": job.part, "case": job.case, "seed": job.seed, "salt": job.salt, **made}


# --- fixed sweeps ------------------------------------------------------------------------------------------------


def _case_run(job: Job) -> Row:
    case = _named(cases(), job.case)
    run = hold_levels(case.profile, case.people, case.sweep, seed=job.seed, hold=case.hold)
    return _told(estimate_run(run.evidence), _engine_truth(case), run.seconds)


def _random_run(job: Job) -> Row:
    case = random_server(job.salt, job.seed)
    run = hold_levels(case.profile, case.people, case.sweep, seed=job.seed, hold=case.hold)
    return {**_told(estimate_run(run.evidence), _engine_truth(case), run.seconds), "what": case.what}


def _stated_run(job: Job) -> Row:
    case = _named((*STATED, *HARD), job.case)
    visits = draw_run(case, job.seed)
    return _told(estimate(visits, criteria_of(chat())), stated_truth(case), visits[-1].end)


def _ramp_run(job: Job) -> Row:
    """A climb by hand; every second run pauses on plateaus."""
    case = _named(cases(), job.case)
    truth = _engine_truth(case)
    top = math.ceil(RAMP_UP_TO * truth["users"]) + 1
    plateaus = job.seed % 2 == 1
    stride = max(1, round(top / 8)) if plateaus else 1
    seconds = PLATEAU_S + 3 if plateaus else RAMP_STEP_S

    def target(now: float, _users: int) -> int | None:
        users = stride * (1 + int(now / seconds))
        return None if users > top else users

    run = drive(Run(case.profile, case.people, {}), job.seed, target, lambda _: None)
    run.plan = None  # type: ignore[assignment]  # driven by hand
    return {**_told(estimate_run(run.evidence), truth, run.seconds), "kind": "plateaus" if plateaus else "climb"}


# --- searches ----------------------------------------------------------------------------------------------------

SEARCHED = (
    *STATED[1:2],
    StatedCase("medium", probit(21.4, 0.15), 21),
    StatedCase("clustered", probit(21.4, 0.15), 21, icc=0.35),
    *(case for case in HARD if case.name == "cliff"),
    StatedCase("crossing at 90", probit(90.5, 0.06), 90),
    StatedCase("crossing at 3.5", probit(3.5, 0.8), 3),
    StatedCase("failing from 1", flat(0.6), 0),
    StatedCase("flat to 64", step(64, 0.97, 0.97), NEVER),
    *STATED[:1],
)


def _searched_servers() -> list[Case]:
    demo = Case("demo profile", "as `probe sim --profile demo`", load_profile("demo"), People(), (8,))
    return [*cases()[1:], demo]


def _stated_search(job: Job) -> Row:
    case = _named(SEARCHED, job.case)
    plan = replace(SEARCH, max_users=64) if case.capacity == NEVER else SEARCH
    make = lambda _profile, _people, seed, on_reply: StatedSwarm(case, seed, on_reply)  # noqa: E731
    run = search_around(Run(load_profile("demo"), People()), chat(), plan, job.seed, make)
    return _searched(run, stated_truth(case))


def _engine_search(job: Job) -> Row:
    case = _named(_searched_servers(), job.case)
    return _searched(search(case.profile, case.people, chat(), SEARCH, seed=job.seed), _engine_truth(case))


def _first_range(job: Job) -> Row:
    case = _named(cases(), job.case)
    return first_range_row(case, job.seed, _published_truths().get(case.name) or _engine_truth(case))


def _random_first_range(job: Job) -> Row:
    case = random_server(job.salt, job.seed)
    truth = _known_truths(job.salt).get(job.seed) or _engine_truth(case)
    return first_range_row(case, FIRST_SEED + job.seed, truth)


@cache
def _published_truths() -> dict[str, Row]:
    """Return the truths on the study's page, which the part `cases` has found: each takes minutes."""
    rows = json.loads((ROWS_OF_RANDOM.parents[2] / "study" / "study.json").read_text("utf-8"))["cases"]
    return {row["case"]: {"users": row["truth"], "tied": row["tied"]} for row in rows}


@cache
def _known_truths(salt: str) -> dict[int, Row]:
    """Return the truths of random servers that the part `random` has found: each takes minutes."""
    rows = map(json.loads, ROWS_OF_RANDOM.read_text("utf-8").splitlines()) if ROWS_OF_RANDOM.exists() else ()
    return {row["seed"]: row["truth"] for row in rows if row["salt"] == salt}


def _searched(run: Run, truth: Row) -> Row:
    found: Any = run.search
    told = _told(found.latest, truth, run.seconds)
    told["outcome"], told["visits"] = found.outcome, len(found.steps)
    told["progress"] = run.progress
    report = estimate_run(run.evidence)
    told["report_interval"], told["report_estimate"] = report.interval, report.estimate
    return told


# --- truths and rows ---------------------------------------------------------------------------------------------


def _engine_truth(case: Case) -> Row:
    truth = find_truth(case)
    share = {level.users: level.served for level in truth.levels}
    here, beyond = share.get(truth.users, 1.0), share[truth.users + 1]
    crossing = truth.users + (here - needed_share()) / (here - beyond) if here > beyond else truth.users
    near = [
        [level.users, level.served, level.served_error]
        for level in truth.levels
        if level.users in {truth.users, truth.users + 1}
    ]
    return {"users": truth.users, "tied": truth.tied, "crossing": crossing, "near": near}


def stated_truth(case: StatedCase) -> Row:
    """The same of a stated server; `crossing` is None where nothing fails, or nothing holds."""
    if case.capacity in {0, NEVER}:
        return {"users": case.capacity, "tied": (), "crossing": None}
    low, high = float(case.capacity), case.capacity + 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if case.share(middle) >= needed_share() else (low, middle)
    return {"users": case.capacity, "tied": (), "crossing": low}


def _told(found: CapacityEstimate, truth: Row, seconds: float) -> Row:
    return {
        "truth": truth,
        "levels": [[level.users, level.state] for level in found.levels],
        "estimate": found.estimate,
        "served_users": found.served_users,
        "interval": found.interval,
        "bracket": found.bracket,
        "seconds": seconds,
    }


def _named(known: Any, name: str) -> Any:
    return next(case for case in known if case.name == name)


_MAKE: dict[str, Callable[[Job], Row]] = {
    "cases": _case_run,
    "random": _random_run,
    "stated": _stated_run,
    "hard": _stated_run,
    "ramps": _ramp_run,
    "stated search": _stated_search,
    "search": _engine_search,
    FIRST_RANGE: _first_range,
    RANDOM_FIRST_RANGE: _random_first_range,
}
