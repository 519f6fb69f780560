"""While a test runs, kinds of user are judged as the report will judge them."""

from collections.abc import Sequence
from typing import Any

import pytest
from worlds import CHAT, asked, evidence, manifest, reply, staircase

from probe_ext.live.status_text import headline
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.settings.slo import FirstWord, SloProfile
from probe_ext.swarm.web import live_json
from probe_ext.verdict.grading.kind_profiles import kind_profiles
from probe_ext.verdict.judge import judge

PATIENT = SloProfile(name="patient", first_word=FirstWord(served=3.0, strained=60.0))
LEVEL_S = 90
USERS = (8, 16)


def _workload() -> dict[str, Any]:
    kinds = (("chat", CHAT), ("batch", PATIENT))
    return {"kinds": [{"name": name, "slo": profile.model_dump(mode="json")} for name, profile in kinds]}


def _rows(waits: Sequence[dict[str, float]]) -> list[ReplyRow]:
    names = ("chat", "batch")
    return [
        reply(user, t, first=t + wait[names[user % 2]], scenario=names[user % 2])
        for n, (users, wait) in enumerate(zip(USERS, waits, strict=True))
        for user, t in asked(users, n * LEVEL_S, LEVEL_S)
    ]


def _monitor(rows: Sequence[ReplyRow]) -> VisitMonitor:
    profiles = kind_profiles(_workload(), CHAT)
    monitor = VisitMonitor(profiles.default, 3, kinds=profiles.kinds)
    for n, users in enumerate(USERS):
        monitor.begin_visit(n * LEVEL_S + 5.0, users)
        monitor.end_visit((n + 1) * LEVEL_S, more_users=n + 1 < len(USERS))
    for row in rows:
        monitor.add(row)
    return monitor


@pytest.mark.parametrize(
    "waits",
    [
        ({"chat": 0.2, "batch": 0.2}, {"chat": 0.2, "batch": 5.0}),
        ({"chat": 0.2, "batch": 2.0}, {"chat": 2.0, "batch": 2.0}),
        ({"chat": 0.2, "batch": 0.2}, {"chat": 0.2, "batch": 0.2}),
    ],
)
def test_the_live_estimate_is_that_of_the_report(waits: Sequence[dict[str, float]]) -> None:
    rows = _rows(waits)
    live = _monitor(rows).estimate(len(USERS) * LEVEL_S + 60.0)
    steps = staircase(*((users, LEVEL_S) for users in USERS))
    verdict = judge(evidence(rows, steps, manifest=manifest(workload=_workload())), CHAT)
    assert (live.bracket, live.served_users) == (verdict.bracket, verdict.served_users)
    assert [level.state for level in live.levels] == [level.state for level in verdict.levels]
    assert {name: part.bracket for name, part in live.parts.items()} == {k.name: k.bracket for k in verdict.kinds}


def test_a_search_reads_the_kind_that_is_served_least() -> None:
    monitor = _monitor(_rows(({"chat": 0.2, "batch": 0.2}, {"chat": 0.2, "batch": 5.0})))
    served, replies = monitor.visit_counts(len(USERS) * LEVEL_S + 60.0)
    assert replies > 0
    assert served == 0


def test_the_headline_says_which_kind_is_served() -> None:
    class _Now:
        users, replies, failed, failure, gone, pause, who = 16, 100, 0, None, "", None, "people"
        widening = None

    monitor = _monitor(_rows(({"chat": 0.2, "batch": 0.2}, {"chat": 0.2, "batch": 5.0})))
    said: Any = headline(_Now(), monitor.estimate(len(USERS) * LEVEL_S + 60.0))  # type: ignore[arg-type]
    assert said.rest.endswith("By kind: chat is served at 16 users; batch is served at 8 users, not at 16.")


def test_bounds_are_shown_where_all_kinds_have_the_same() -> None:
    slow_typing = CHAT.model_copy(update={"typing": None, "name": "slow"})
    bounds = live_json._bounds([CHAT, PATIENT, slow_typing])
    assert (bounds["first_word_served"], bounds["typing_served"]) == (None, 10.0)
    assert live_json._bounds([CHAT])["first_word_served"] == 1.0
