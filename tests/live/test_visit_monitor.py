"""What a search hears of a level while it runs: the estimator's own answers, from the replies known so far."""

import pytest
from worlds import CHAT, evidence, reply, slow_start, staircase

from probe_ext.live import visit_monitor
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.load.boundary_search import critical_after
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.measure.unfinished import MAX_AGE_S, EarlyCount
from probe_ext.verdict.judge import judge
from scripts.study.adapter import run_visits


def monitor(*rows: ReplyRow) -> VisitMonitor:
    made = VisitMonitor(CHAT, 3)
    for row in rows:
        made.add(row)
    return made


def test_it_estimates_from_every_visit_so_far() -> None:
    good = [reply(user, 6.0 + 1.5 * k) for user in range(4) for k in range(30)]
    slow = [slow_start(user, 60.0 + 4 * k, 2.5) for user in range(8) for k in range(10)]
    heard = monitor(*good)
    heard.begin_visit(5.0, 4)
    assert [level.users for level in heard.estimate(50.0).levels] == [4]
    heard.end_visit(55.0, more_users=True)
    heard.begin_visit(59.0, 8)
    for row in slow:
        heard.add(row)
    found = heard.estimate(110.0)
    assert [level.users for level in found.levels] == [4, 8]
    assert found.interval is not None
    assert found.interval[1] == 7
    assert heard.needed_share == pytest.approx(0.9)


def test_search_and_report_make_the_same_visits() -> None:
    rows = [reply(user, 5.5 + 1.5 * k) for user in range(4) for k in range(20)]
    rows += [slow_start(user, 40.5 + 4 * k, 2.5) for user in range(8) for k in range(9)]
    heard = monitor()
    heard.begin_visit(5.0, 4)
    heard.end_visit(34.0, more_users=True)
    heard.begin_visit(40.0, 8)
    heard.end_visit(75.0, more_users=False)
    for row in rows:
        heard.add(row)
    reported = run_visits(evidence(rows, staircase((4, 35), (8, 40))), CHAT)
    levels = heard.estimate(200.0).levels
    assert [(level.users, level.replies) for level in levels] == [(v.users, len(v.sent)) for v in reported]


def test_replies_sent_lately_are_left_out_while_slow_ones_are_still_on_their_way() -> None:
    heard = monitor(*[reply(user, 1.0 * k, tokens_out=80) for user in range(2) for k in range(30)])
    heard.begin_visit(5.0, 2)
    served, replies = heard.visit_counts(20.0)
    assert served == replies == 2 * 11, "a reply takes 4.15 s: those sent from 5 to 15 s"
    heard.end_visit(20.0, more_users=False)
    assert heard.visit_counts(40.0)[1] == 2 * 15, "all but the last second's"


@pytest.mark.parametrize(("since", "served"), [(15.5, True), (13.0, False)])
def test_when_more_users_come_a_reply_counts_as_it_stands(since: float, served: bool) -> None:
    """It has waited for half a second by then, and is left out; or for three."""
    heard = monitor()
    heard.begin_visit(5.0, 1)
    heard.end_visit(16.0, more_users=True)
    heard.add(slow_start(0, since, 5.0))
    assert heard.visit_counts(30.0) == ((0, 0) if served else (0, 1))


@pytest.mark.parametrize("now", [19.0, 21.0, 25.0, 60.0])
def test_of_replies_from_before_only_what_they_show_now_counts(now: float) -> None:
    """Ten replies were sent two seconds before: their first words were late, and they go on well."""
    age = min(MAX_AGE_S, int(now + 2))
    counts = (*(EarlyCount() for _ in range(age)), EarlyCount(10, 10, 0))
    heard = VisitMonitor(CHAT, 3, unfinished=lambda: counts)
    assert heard.early_counts(now, 0.0) == (0, 0)


def test_the_reply_cycle_is_from_one_request_to_the_next() -> None:
    heard = monitor(*[reply(0, 7.0 * k) for k in range(6)])
    assert heard.reply_cycle() == pytest.approx(7.0)
    assert monitor().reply_cycle() == 0.0
    assert monitor(reply(0, 3.0)).reply_cycle() == pytest.approx(1.15), "of one reply, what it took"


def test_users_replied_since_a_moment_are_counted_once() -> None:
    heard = monitor(reply(0, 1.0), reply(0, 4.0), reply(1, 4.0), reply(2, 4.0, outcome="ended_by_us"))
    assert heard.users_replied(3.0) == 2


def test_a_search_needs_stronger_proofs() -> None:
    assert 1.96 < critical_after(1) <= critical_after(12) < critical_after(30)


def test_a_team_pauses_where_enough_of_its_users_do() -> None:
    """Reply cycles of 1.15 s and of 11.15 s: those who pause send 17 % of the requests."""
    eager = [reply(user, 1.15 * k) for user in range(5) for k in range(97)]
    pausing = [reply(user, 11.15 * k) for user in range(5, 15) for k in range(10)]
    assert monitor(*eager, *pausing).pause is not None
    assert monitor(*eager, *pausing[:10]).pause is None, "one of six"


def lost(users: range, since: float, until: float) -> list[ReplyRow]:
    """Replies that break off at that moment, and one refused connection per user and second from then on."""
    broken = [reply(user, since - 0.5, outcome="cut", end=since) for user in users]
    refused = [
        reply(user, since + second, outcome="connect_failed", first=None, end=since + second + 0.01)
        for second in range(int(until - since))
        for user in users
    ]
    return [*broken, *refused]


def test_an_outage_counts_once_the_server_answers_again_as_in_the_report() -> None:
    users = range(4)
    good = [reply(user, 6.0 + 1.5 * k) for user in users for k in range(30)]
    heard = monitor(*good, *lost(users, 51.0, 60.0))
    heard.begin_visit(5.0, 4)
    (level,) = heard.estimate(60.0).levels
    assert (level.state, level.broken_share) == ("held", 0.0)
    reported = judge(evidence([*good, *lost(users, 51.0, 60.0)], staircase((4, 60))), CHAT)
    assert [(found.users, found.state) for found in reported.levels] == [(4, "held")]
    for user in users:
        heard.add(reply(user, 61.0))
    (level,) = heard.estimate(70.0).levels
    assert level.broken_share > 0.1


def test_lost_connections_of_a_server_that_answers_others_count_at_once() -> None:
    heard = monitor()
    heard.begin_visit(5.0, 4)
    for k in range(30):
        for user in range(4):
            sent = 6.0 + 1.5 * k
            heard.add(reply(user, sent) if user else reply(user, sent, outcome="cut", end=sent + 0.2))
    (level,) = heard.estimate(55.0).levels
    assert level.broken_share > 0.2


def test_an_outage_without_end_is_kept_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit_monitor, "MAX_HELD_REPLIES", 10)
    heard = monitor(*lost(range(2), 10.0, 60.0))
    heard.begin_visit(5.0, 2)
    assert heard.visit_counts(60.0)[1] > 80
