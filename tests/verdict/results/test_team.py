"""Team size and cost of a capacity, in runs where both are known."""

import argparse
import math
import shlex
from math import comb

import numpy as np
import pytest
from worlds import CHAT, evidence, manifest, reply, staircase, worker

from probe_ext.measure.table_rows import ReplyRow
from probe_ext.settings.options import Options, read_options
from probe_ext.sim.profile import load_profile
from probe_ext.swarm.commands import run_command
from probe_ext.verdict.inference.level_estimates import least_proof
from probe_ext.verdict.judge import judge
from probe_ext.verdict.results.team_size import (
    CALM_SHARES,
    AtCapacity,
    Given,
    at_capacity,
    at_most,
    cost,
    largest_team,
    money,
    team,
)
from probe_ext.verdict.values.judgement import Judgement
from probe_ext.verdict.values.sizing_types import Team
from probe_ext.verdict.wording.next_run import TAKE_THINK_TIME
from scripts.study.truth import chat, measure_shares
from scripts.study.virtual.people import People
from scripts.study.virtual.virtual_run import hold_levels

SECONDS = 65
USERS = 4


def busy(users: int, reply_s: float, rest: float, until: float = SECONDS) -> list[ReplyRow]:
    """Return users who send a request, get a good reply of `reply_s` seconds, rest, and repeat."""
    starts = np.arange(0.0, until, reply_s + rest)
    return [reply(u, float(t), end=float(t) + reply_s) for t in starts for u in range(users)]


def judged(rows: list[ReplyRow], given: Given, seconds: int = SECONDS, **changes: object) -> Judgement:
    return judge(evidence(rows, staircase((USERS, seconds)), **changes), CHAT, given=given)


def test_a_team_that_waits_a_tenth_of_the_time_is_less_than_ten_times_as_large() -> None:
    """Four users without rest and replies of 2 s: four in flight. With 18 s of rest, each is busy 10 % of the time."""
    verdict = judged(busy(USERS, 2.0, 0.0), Given(think_time=18.0))
    found = verdict.team
    assert verdict.bracket == (USERS, None)
    assert found is not None
    assert found.reply_seconds == pytest.approx(2.0)
    assert found.in_flight == pytest.approx(4.0, rel=0.01)
    assert found.waiting_share == pytest.approx(0.1)
    assert USERS < found.people_low < found.people_high < 40
    assert found.sentence == (
        f"A team of about {found.people_low} to {found.people_high} people who pause 18 s on average between a reply "
        "and the next question. This is computed from 4 people at once; a run with users who pause would prove it: "
        f"`{found.command}`"
    )


def asked(command: str | None) -> Options:
    """Return what a command asks `probe run` for, read as a shell and the command line do."""
    assert command is not None
    first, second, *words = shlex.split(command)
    assert (first, second) == ("probe", "run")
    parser = argparse.ArgumentParser()
    run_command.add_arguments(parser)
    given, rest = parser.parse_known_args(words)
    asked = run_command.read_command_line(argparse.Namespace(**vars(given), rest=rest))
    assert asked.scenario in TAKE_THINK_TIME
    assert asked.given["host"] == "http://server:8000"
    assert not asked.rest
    return read_options(asked.given)


def team_of(think_time: float, seconds: int = SECONDS, **stated: object) -> Team:
    rows = busy(USERS, 2.0, 0.0)
    given = manifest(workers=[worker(started=len(rows))], **stated)
    found = judge(evidence(rows, staircase((USERS, seconds)), manifest=given), CHAT, given=Given(think_time)).team
    assert found is not None
    return found


def test_the_command_holds_both_sizes_for_long_enough_with_such_pauses_and_the_same_options() -> None:
    given = {"header": ["X-A: b`c 'd'"], "max_tokens": 64, "team_think_time": 18.0, "prompt_seed": 3, "levels": [4]}
    found = team_of(18.0, scenario="memory_wall", options=given)
    options = asked(found.command)
    least = [least_proof(users, 20.0) for users in (found.people_low, found.people_high)]
    assert options.levels == (found.people_low, found.people_high)
    assert options.think_time == 18.0
    assert options.hold == math.ceil(max(proof.seconds for proof in least if proof))
    assert (options.header, options.max_tokens) == (("X-A: b`c 'd'",), 64)
    assert (options.team_think_time, options.prompt_seed) == (None, None)


def test_a_hold_that_is_long_enough_stays_and_one_size_is_one_level() -> None:
    found = team_of(0.001, plan={"hold": 600.0})
    options = asked(found.command)
    assert found.people_low == found.people_high == USERS
    assert (options.levels, options.hold, options.think_time) == ((USERS,), 600.0, 0.001)


def test_hours_of_pauses_are_written_so_that_they_are_read_again() -> None:
    options = asked(team_of(86_399.25).command)
    assert options.think_time == 86_399.25
    assert options.hold > 86_399


@pytest.mark.parametrize(
    ("think_time", "stated"),
    [
        (0.0, {}),
        (90_000.0, {}),
        (18.0, {"workload": {"name": "mine", "kinds": [{"name": "one"}]}}),
        (18.0, {"arrivals": {"form": "poisson"}}),
        (18.0, {"options": {"rate": [2.0]}}),
        (18.0, {"scenario": "chat"}),
        (18.0, {"scenario": "baseline"}),
        (18.0, {"locustfile": "./capacity.py"}),
    ],
)
def test_where_no_option_decides_the_pauses_there_is_no_command(think_time: float, stated: dict[str, object]) -> None:
    found = team_of(think_time, **stated)
    assert found.command is None
    assert found.sentence.endswith("at once; only a run with users who pause would prove it.")


def test_users_who_rest_during_the_run_count_by_replies_in_flight() -> None:
    """The same four with rests as long as replies: two in flight. They are a team already, so none is computed."""
    rows, seconds = busy(USERS, 2.0, 2.0, 150), 150
    verdict = judged(rows, Given(think_time=2.0), seconds=seconds)
    asked = np.array([row.due for row in rows])
    at = at_capacity(evidence(rows, staircase((USERS, seconds))), asked, verdict.levels, verdict.bracket[0])
    assert at is not None
    assert at.in_flight == pytest.approx(2.0, rel=0.05)
    assert verdict.team is None
    assert verdict.think_time is not None
    assert verdict.think_time.mean == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize(("in_flight", "counted"), [(1.9965, 2), (3.98, 4), (3.6, 3), (4.0, 4)])
def test_the_moment_between_two_replies_takes_nobody_from_the_team(in_flight: float, counted: int) -> None:
    found = team(AtCapacity(4, in_flight, 2.0, None), 18.0)
    assert found is not None
    assert (found.people_low, found.people_high) == tuple(largest_team(counted, 0.1, calm) for calm in CALM_SHARES)


def test_without_a_rest_the_team_is_the_capacity() -> None:
    found = judged(busy(USERS, 2.0, 0.0), Given(think_time=0.0)).team
    assert found is not None
    assert found.waiting_share == 1.0
    assert (found.people_low, found.people_high) == (USERS, USERS)
    assert "about 4 people who" in found.sentence


def test_only_what_is_proven_makes_a_team() -> None:
    """Eight users seem fine but are not proven: the team is that of four."""
    rows = busy(USERS, 2.0, 0.0) + [reply(u, 72.0, end=74.0) for u in range(8)]
    verdict = judge(evidence(rows, staircase((USERS, SECONDS), (8, 20))), CHAT, given=Given(think_time=18.0))
    assert verdict.bracket == (USERS, None)
    assert verdict.team is not None
    assert "computed from 4 people" in verdict.team.sentence


@pytest.mark.untraced
def test_a_team_of_that_size_is_served() -> None:
    """On the demo server, held against people who really pause: the range is served, Little's average is not."""
    demo, pause = load_profile("demo"), 30.0
    run = hold_levels(demo, People(), (4, 8, 12), seed=5, hold=40.0)
    found = judge(run.evidence, chat(), given=Given(think_time=pause)).team
    assert found is not None
    average = round(found.in_flight / found.waiting_share)
    assert found.people_high < 0.75 * average

    def share(people: int) -> float:
        return measure_shares(demo, People(think=pause), people, seed=7, seconds=400.0)[0]

    assert share(found.people_low) > 0.98
    assert share(found.people_high) > 0.95
    assert share(average) < 0.6


def test_costs_are_the_price_over_the_work_of_an_hour() -> None:
    """100 tokens per second in total: 360,000 per hour."""
    verdict = judged(busy(USERS, 2.0, 0.0), Given(think_time=18.0, price_per_hour=3.6))
    found = verdict.cost
    assert found is not None
    assert verdict.team is not None
    found_low = verdict.team.people_low
    assert found.per_user_hour == pytest.approx(0.9)
    assert found.per_million_tokens == pytest.approx(10.0)
    assert found.per_token_per_s == pytest.approx(0.036)
    assert found.per_person_hour == pytest.approx(3.6 / found_low)
    assert found.sentence.startswith(
        "At 3.60 an hour, with 4 people at once all the time: an hour costs 0.90 for each of them; "
    )


def test_without_think_time_and_price_there_is_no_team_and_cost() -> None:
    rows = busy(USERS, 2.0, 0.0)
    verdict = judged(rows, Given())
    assert (verdict.team, verdict.cost) == (None, None)
    priced = judged(rows, Given(price_per_hour=1.0))
    assert priced.team is None
    assert priced.cost is not None
    assert priced.cost.per_person_hour is None
    assert "team" not in priced.cost.sentence
    blind = judged(rows, Given(price_per_hour=1.0), windows=()).cost
    assert blind is not None
    assert (blind.per_million_tokens, blind.per_token_per_s) == (None, None)


@pytest.mark.parametrize("why", ["broken", "short", "invalid"])
def test_without_a_proven_capacity_there_is_no_team(why: str) -> None:
    rows = busy(USERS, 2.0, 0.0)
    changes: dict[str, object] = {}
    if why == "broken":
        rows = [
            reply(u, float(t), first=float(t) + 20, end=float(t) + 22) for t in range(0, 60, 3) for u in range(USERS)
        ]
    elif why == "short":
        rows = [row for row in rows if row.sent is not None and row.sent < 8]
    else:
        changes = {"manifest": manifest(workers=[worker(started=999)])}
    verdict = judged(rows, Given(60.0, 2.5), **changes)
    assert verdict.verdict == {"broken": "unproven", "short": "unproven", "invalid": "invalid"}[why]
    assert (verdict.team, verdict.cost) == (None, None)
    assert team(None, 1.0) is None
    assert cost(None, None, 1.0) is None


@pytest.mark.parametrize(("k", "n", "share"), [(2, 5, 0.17), (8, 40, 0.1), (0, 3, 0.5), (4, 4, 0.9)])
def test_the_binomial_distribution(k: int, n: int, share: float) -> None:
    exact = sum(comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k + 1))
    assert at_most(k, n, share) == pytest.approx(exact)


@pytest.mark.parametrize(("in_flight", "share"), [(1, 0.5), (4, 0.1), (64, 0.02), (3, 1.0)])
@pytest.mark.parametrize("calm", CALM_SHARES)
def test_one_more_person_would_be_too_many(in_flight: int, share: float, calm: float) -> None:
    most = largest_team(in_flight, share, calm)
    assert at_most(in_flight, most, share) >= calm
    assert at_most(in_flight, most + 1, share) < calm


@pytest.mark.parametrize(
    ("value", "text"), [(2.5, "2.50"), (0.0, "0"), (0.039204, "0.039"), (0.00042, "0.00042"), (12345.6, "12,346")]
)
def test_money(value: float, text: str) -> None:
    assert money(value) == text
