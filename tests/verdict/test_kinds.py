"""Kinds of user of a workload: each judged by its own profile, and all of them together."""

from typing import Any

import pytest
from one_answer import check_one_answer
from worlds import CHAT, asked, evidence, good, manifest, reply, slow, staircase, worker

from probe_ext.measure.table_rows import ReplyRow
from probe_ext.report.wording.answer_context import doubts
from probe_ext.settings.slo import FirstWord, SloProfile
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.judgement import Judgement
from probe_ext.verdict.values.kind_result import KindResult

PATIENT = SloProfile(name="patient", first_word=FirstWord(served=30.0, strained=60.0))
LEVEL_S = 90
"""Long enough for each of two kinds to prove a level of 8 users together."""


def workload(*kinds: dict[str, Any]) -> dict[str, Any]:
    """Return the workload of a manifest."""
    return {"name": "team", "kinds": list(kinds), "arrivals": {"form": "users"}}


def kind(name: str, slo: SloProfile | None = None, **changes: Any) -> dict[str, Any]:
    """Return a kind of user of a manifest."""
    return {"name": name, "share": 0.5, "users": None, "slo": slo and slo.model_dump(mode="json"), **changes}


def level(number: int, users: int, **waits: float) -> list[ReplyRow]:
    """Return one level: users take the kinds in turns, and each kind waits so long for its first word."""
    names = list(waits)
    rows = []
    for user, t in asked(users, number * LEVEL_S, LEVEL_S):
        name = names[user % len(names)]
        rows.append(reply(user, t, first=t + waits[name], scenario=name))
    return rows


def judged(replies: list[ReplyRow], users: tuple[int, ...], stated: dict[str, Any] | None, **how: Any) -> Judgement:
    """Judge a run of levels, and check that its parts agree."""
    recorded = manifest(workers=[worker(started=len(replies))], workload=stated, profile=CHAT.model_dump(mode="json"))
    verdict = judge(evidence(replies, staircase(*((n, LEVEL_S) for n in users)), manifest=recorded), CHAT, **how)
    check_one_answer(verdict)
    return verdict


def by_name(verdict: Judgement) -> dict[str, KindResult]:
    return {one.name: one for one in verdict.kinds}


def test_each_kind_is_judged_by_its_own_profile() -> None:
    waits = {8: 0.2, 16: 2.0}
    rows = [row for n, (users, wait) in enumerate(waits.items()) for row in level(n, users, chat=wait, batch=wait)]
    verdict = judged(rows, (8, 16), workload(kind("chat", CHAT), kind("batch", PATIENT)))
    kinds = by_name(verdict)
    assert (kinds["chat"].bracket, kinds["batch"].bracket) == ((8, 16), (16, None))
    assert (kinds["chat"].breaks_first, kinds["batch"].breaks_first) == ("first_word", None)
    assert [(one.users, one.users_of_kind) for one in kinds["chat"].levels] == [(8, 4), (16, 8)]
    assert [one.profile["name"] for one in verdict.kinds] == ["chat", "patient"]


def test_a_number_of_users_is_served_where_every_kind_of_them_is() -> None:
    rows = [*level(0, 8, chat=0.2, review=0.2), *level(1, 16, chat=0.2, review=2.0)]
    verdict = judged(rows, (8, 16), workload(kind("chat", CHAT), kind("review", CHAT)))
    assert (verdict.bracket, verdict.served_users) == ((8, 16), 8)
    assert "The wait for the first word is the first limit, for review." in verdict.sentence
    assert "By kind: chat is served at 16 users; review is served at 8 users, not at 16." in verdict.sentence


def test_a_small_kind_that_is_not_served_is_not_outvoted() -> None:
    """One user of 20 gets nothing: 95 % of all replies are served."""
    names = ["review", *["chat"] * 19]
    rows = [
        reply(user, t, first=t + (2.0 if names[user] == "review" else 0.2), scenario=names[user])
        for user, t in asked(20, 0, 200)
    ]
    recorded = manifest(workload=workload(kind("chat", CHAT, share=0.95), kind("review", CHAT, share=0.05)))
    verdict = judge(evidence(rows, staircase((20, 200)), manifest=recorded), CHAT)
    check_one_answer(verdict)
    assert verdict.levels[0].served_share == pytest.approx(0.95, abs=0.01)
    assert (verdict.levels[0].state, verdict.bracket) == ("failed", (None, 20))


def test_kinds_that_differ_are_not_a_slow_group_of_users() -> None:
    rows = [row for n, users in enumerate((8, 16)) for row in level(n, users, chat=0.2, review=2.0)]
    verdict = judged(rows, (8, 16), workload(kind("chat", CHAT), kind("review", CHAT)))
    assert verdict.groups is None
    assert all(one.groups is None for one in verdict.kinds)
    assert all(one.worse_group is None for one in verdict.levels)
    assert by_name(verdict)["chat"].bracket == (16, None)


def test_users_of_one_kind_who_differ_are_found_within_it() -> None:
    def wait(user: int) -> float:
        return 2.0 if user in {0, 2} else 0.2

    rows = [
        reply(user, t, first=t + wait(user), scenario="chat" if user % 2 == 0 else "review")
        for n, users in enumerate((16, 24))
        for user, t in asked(users, n * LEVEL_S, LEVEL_S)
    ]
    verdict = judged(rows, (16, 24), workload(kind("chat", CHAT), kind("review", CHAT)))
    kinds = by_name(verdict)
    assert kinds["chat"].groups is not None
    assert kinds["review"].groups is None
    assert verdict.levels[0].worse_group is not None


def test_a_kind_without_a_measured_reply_is_said_first() -> None:
    rows = [*level(0, 8, chat=0.2), *level(1, 16, chat=2.0)]
    verdict = judged(rows, (8, 16), workload(kind("chat", CHAT), kind("review", CHAT)))
    assert verdict.sentence.startswith("Without the kind “review”, of which no reply was measured: ")
    assert by_name(verdict)["review"].replies == 0
    assert verdict.bracket == (8, 16)


def test_one_profile_given_for_the_report_judges_all_kinds() -> None:
    rows = [*level(0, 8, chat=0.2, batch=0.2), *level(1, 16, chat=2.0, batch=2.0)]
    verdict = judged(rows, (8, 16), workload(kind("chat", CHAT), kind("batch", PATIENT)), one_profile=True)
    assert {one.profile["name"] for one in verdict.kinds} == {"chat"}
    assert by_name(verdict)["batch"].bracket == (8, 16)


def test_a_single_kind_is_the_run_and_is_judged_by_its_profile() -> None:
    rows = [*level(0, 8, batch=2.0), *level(1, 16, batch=2.0)]
    verdict = judged(rows, (8, 16), workload(kind("batch", PATIENT)))
    assert verdict.kinds == ()
    assert (verdict.bracket, verdict.profile["name"]) == ((16, None), "patient")


@pytest.mark.parametrize(
    "damaged", [None, 3, {"kinds": 3}, {"kinds": [3, {}, {"name": 3}, {"name": "chat", "slo": 7}]}]
)
def test_a_damaged_workload_is_judged_like_none(damaged: Any) -> None:
    rows = [*good(8, 0, LEVEL_S), *slow(16, LEVEL_S, LEVEL_S)]
    verdict = judged(rows, (8, 16), damaged)
    assert (verdict.bracket, verdict.kinds) == ((8, 16), ())


def test_a_damaged_profile_of_a_kind_is_replaced_by_the_runs() -> None:
    rows = [*level(0, 8, chat=0.2, batch=0.2), *level(1, 16, chat=2.0, batch=0.2)]
    broken = {"name": "x", "first_word": {"served": "soon"}}
    verdict = judged(rows, (8, 16), workload(kind("chat", CHAT), {**kind("batch"), "slo": broken}))
    assert by_name(verdict)["batch"].profile["name"] == "chat"


def test_request_names_are_rows_and_leave_the_answer_alone() -> None:
    rows = [*level(0, 8, ask=0.2, summarise=0.2), *level(1, 16, ask=0.2, summarise=2.0)]
    verdict, plain = (
        judged(rows, (8, 16), None),
        judged([*good(8, 0, LEVEL_S), *slow(16, LEVEL_S, LEVEL_S)], (8, 16), None),
    )
    kinds = by_name(verdict)
    assert {one.source for one in verdict.kinds} == {"request_name"}
    assert (kinds["ask"].bracket, kinds["summarise"].bracket) == ((16, None), (8, 16))
    assert plain.kinds == ()
    assert "By kind" not in verdict.sentence


def test_kinds_share_the_error_that_one_run_may_have() -> None:
    """A share that proves a single kind by a hair does not prove one of four."""
    rows = [row for n, users in enumerate((8, 16)) for row in level(n, users, a=0.2, b=0.2, c=0.2, d=0.2)]
    four = judged(rows, (8, 16), workload(*(kind(name, CHAT) for name in "abcd")))
    apart = judged(rows, (8, 16), None)
    low = [one.levels[0].served_share_low for one in four.kinds]
    assert all(a < one.levels[0].served_share_low for a, one in zip(low, apart.kinds, strict=True))


def test_a_mix_that_varied_between_levels_is_said() -> None:
    def rows(number: int, users: int, reviewers: int) -> list[ReplyRow]:
        names = ["review" if user < reviewers else "chat" for user in range(users)]
        return [reply(user, t, scenario=names[user]) for user, t in asked(users, number * LEVEL_S, LEVEL_S)]

    stated = workload(kind("chat", CHAT), kind("review", CHAT))
    varied = judged([*rows(0, 8, 2), *rows(1, 16, 12)], (8, 16), stated)
    constant = judged([*rows(0, 8, 2), *rows(1, 17, 5)], (8, 17), stated)
    (title, _meaning), *_ = doubts(varied.to_json())
    assert title.startswith("The mix of kinds varied between levels: chat had 25 % to 75 % of the users")
    assert doubts(constant.to_json()) == []


def test_users_who_pause_throughout_a_level_are_users_of_their_kind() -> None:
    """Each of 6 reviewers asks every 200 s, in levels of 90 s; the level of 10 has 4 others who come back for it."""
    steps, rows = (14, 10, 14), []
    for number, users in enumerate(steps):
        chatters = users - 6
        rows += [reply(n, t, scenario="chat") for n, t in asked(chatters, number * LEVEL_S, LEVEL_S)]
    rows += [reply(100 + n, 6.0 + 30 * n + 200 * k, scenario="review") for n in range(6) for k in range(2)]
    rows = sorted((row for row in rows if row.end < 3 * LEVEL_S), key=lambda row: row.due)
    kinds = by_name(judged(rows, steps, workload(kind("chat", CHAT), kind("review", CHAT))))
    review = {one.users: one.users_of_kind for one in kinds["review"].levels}
    assert review == {14: 6, 10: 6}
    assert {one.users: one.users_of_kind for one in kinds["chat"].levels} == {14: 8, 10: 4}
