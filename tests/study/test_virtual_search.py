"""The search on virtual servers whose boundary is known: the right answer, sooner than a sweep, seed after seed."""

from dataclasses import replace

import pytest

from probe_ext.bundled import folder
from probe_ext.load.boundary_search import SearchPlan
from probe_ext.settings.slo import load_profile as load_slo
from probe_ext.sim.profile import load_profile
from probe_ext.verdict.judge import judge
from scripts.study.people import People
from scripts.study.virtual_run import Run, hold_levels, search

DEMO = load_profile("demo")
CHAT = load_slo("chat", folder("configs") / "slo")
PLAN = SearchPlan(hold=30.0, settle=5.0, min_replies=3, max_users=512, longest=1800.0)
LONG = People(reply=120)
"""answers of three seconds: whoever has to wait for one is not served"""


def ended(run: Run) -> tuple[str, list[int]]:
    """How, and the levels that the search proved."""
    told = run.plan["search"]
    return told["outcome"], [step["users"] for step in told["steps"] if step["proven"]]


@pytest.mark.parametrize("slots", [1, 3, 6])
def test_it_finds_how_many_a_server_answers_at_once(slots: int) -> None:
    run = search(replace(DEMO, max_num_seqs=slots), LONG, CHAT, PLAN, seed=slots)
    verdict = judge(run.evidence, CHAT)
    assert (verdict.verdict, verdict.bracket) == ("valid", (slots, slots + 1))
    outcome, proven = ended(run)
    assert outcome == "closed"
    assert {slots, slots + 1} <= set(proven)


@pytest.mark.long
@pytest.mark.untraced
def test_it_takes_fewer_minutes_than_a_sweep_of_the_same_resolution() -> None:
    sweep = hold_levels(replace(DEMO, max_num_seqs=6), LONG, tuple(range(1, 17)), seed=1)
    found = search(replace(DEMO, max_num_seqs=6), LONG, CHAT, PLAN, seed=1)
    assert judge(found.evidence, CHAT).bracket == judge(sweep.evidence, CHAT).bracket == (6, 7)
    assert found.seconds < sweep.seconds


@pytest.mark.long
@pytest.mark.untraced
def test_what_it_proves_is_right_seed_after_seed() -> None:
    """Each end of a bracket may be wrong in 2.5 % of the cases: of 8 runs, more than one wrong would be a wonder."""
    wrong = 0
    for seed in range(8):
        _, proven = ended(search(replace(DEMO, max_num_seqs=3), LONG, CHAT, PLAN, seed=100 + seed))
        wrong += not {3, 4} <= set(proven)
    assert wrong <= 1


@pytest.mark.untraced
@pytest.mark.parametrize("seed", [40_001, pytest.param(40_004, marks=pytest.mark.long)])
def test_the_search_and_the_verdict_speak_of_a_level_as_one(seed: int) -> None:
    """A ninth user waits for one of eight slots; with these seeds, replies that ended after 9 users were left made the
    verdict say that they fail, when the search had just proven that they hold."""
    run = search(DEMO, People(), CHAT, PLAN, seed=seed)
    held, failed = judge(run.evidence, CHAT).bracket
    assert held is not None
    assert failed is not None
    for step in run.plan["search"]["steps"]:
        if step["proven"]:
            assert step["users"] <= held if step["state"] == "held" else step["users"] >= failed


def test_the_same_seed_searches_in_the_same_way() -> None:
    runs = [search(replace(DEMO, max_num_seqs=2), LONG, CHAT, PLAN, seed=5) for _ in range(2)]
    assert runs[0].plan == runs[1].plan
    assert runs[0].replies == runs[1].replies
