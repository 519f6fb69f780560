"""Others' load while a run goes on: what is said at once, and what a plan or search no longer reads."""

import numpy as np
import pytest
from worlds import CHAT, reply

from probe_ext.live.server.others_now import OthersNow
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.load.boundary_search import SearchPlan, SearchSteps
from probe_ext.measure.table_rows import ReplyRow, ServerRow
from probe_ext.swarm.master.others_notice import OthersNotice

HOST, URL = "http://server:8000", "http://server:8000/metrics"
OWN = [reply(user, 5.1 + 1.5 * n) for user in range(4) for n in range(30)]
OTHERS = [reply(user, 20.0 + 1.5 * n) for user in range(12) for n in range(60)]


def poll(t: float, served: list[ReplyRow]) -> list[ServerRow]:
    """Return what the server reports at second `t`."""
    ended = [row for row in served if row.end <= t]
    running = [row for row in served if (row.sent or 0.0) <= t < row.end]
    values = {
        "running": len(running),
        "waiting": 0,
        "requests_finished": len(ended),
        "generation_tokens": sum(row.tokens_out or 0 for row in ended),
        "prompt_tokens": sum(row.tokens_in or 0 for row in ended),
    }
    return [ServerRow(t, URL, "0", name, float(value)) for name, value in values.items()]


def watched(*, others: bool, until: float = 45.0) -> tuple[VisitMonitor, list[tuple[float, str]], OthersNotice]:
    """Return a monitor of 4 users from second 5 on, and what was said when."""
    now_of = OthersNow(HOST, 20)
    monitor = VisitMonitor(CHAT, 3, others=now_of)
    notice = OthersNotice(now_of, monitor, None)
    monitor.begin_visit(5.0, 4)
    said, waiting = list[tuple[float, str]](), sorted(OWN, key=lambda row: row.end)
    for t in np.arange(0.0, until, 1.0):
        while waiting and waiting[0].end <= t:
            monitor.add(waiting.pop(0))
        now_of.add_server(poll(float(t), [*OWN, *(OTHERS if others else [])]), 4.0)
        if line := notice.update(float(t), 4.0):
            said.append((float(t), line))
    return monitor, said, notice


def test_an_idle_server_is_not_accused() -> None:
    monitor, said, notice = watched(others=False)
    assert said == []
    assert notice.present is None
    assert not monitor.has_other_load(45.0)
    assert [level.users for level in monitor.estimate(45.0).levels] == [4]


def test_others_are_told_of_when_they_begin_and_again_for_the_level() -> None:
    monitor, said, notice = watched(others=True)
    (first, at_once), (second, level) = said
    assert 20 < first < 25
    assert at_once.startswith("others are using the server: it has ")
    assert second > first
    assert level.startswith("others are using the server at 4 users: at least ")
    assert (notice.present or "").startswith("others are using the server at 4 users: at least ")
    assert monitor.has_other_load(45.0)
    assert monitor.visit_counts(45.0) == (0, 0)
    assert monitor.estimate(45.0).levels == ()


@pytest.mark.parametrize("others", [False, True])
def test_a_search_does_not_go_on_while_others_use_the_server(others: bool) -> None:
    monitor, _, _ = watched(others=others, until=110.0)
    monitor.visits.clear()
    steps = SearchPlan(24.0, 20.0, 1, 64, 1800.0).begin()
    for t in range(1, 150):  # measured from second 21 on, and given up after five holds
        steps.target(float(t), steps.level, monitor)
    assert (steps.outcome == "other_load") == others


def short_search(*, others: bool) -> tuple[SearchSteps, VisitMonitor, float]:
    """Run a search whose visits are over before what others do is known: its shortest take 2.5 s."""
    now_of = OthersNow(HOST, 20)
    monitor = VisitMonitor(CHAT, 1, others=now_of)
    steps = SearchPlan(hold=6.0, settle=2.0, min_replies=1, max_users=64, longest=120.0).begin()
    foreign = [reply(100 + user, 1.0 * n) for user in range(12) for n in range(130)] if others else []
    flying: list[ReplyRow] = []
    ended: list[ReplyRow] = []
    t = 0.0
    while (users := steps.target(t, steps.level, monitor)) is not None and t < 125.0:
        flying += [reply(user, t, tokens_out=12, first=t + 0.1, tpot=0.05) for user in range(users)]
        for row in [row for row in flying if row.end <= t]:
            flying.remove(row)
            ended.append(row)
            monitor.add(row)
        now_of.add_server(poll(t, [*ended, *foreign]), float(users))
        t += 1.0
    return steps, monitor, t


def test_a_search_of_short_visits_ends_too_while_others_use_the_server() -> None:
    steps, monitor, until = short_search(others=True)
    assert steps.outcome == "other_load"
    assert max(step.users for step in steps.steps) <= 8, "it went on to more users without knowing of others"
    assert monitor.estimate(until + 60.0).levels == (), "as the report has it"


def test_a_search_of_short_visits_goes_on_on_an_idle_server() -> None:
    steps, monitor, until = short_search(others=False)
    assert steps.outcome != "other_load"
    assert max(step.users for step in steps.steps) > 8
    assert all(monitor.is_judged(span, until + 60.0) for span in monitor.visits)


def test_a_short_visit_is_assessed_once_it_is_over() -> None:
    now_of = OthersNow(HOST, 20)
    monitor = VisitMonitor(CHAT, 1, others=now_of)
    for row in OWN:
        monitor.add(row)
    for t in range(60):
        now_of.add_server(poll(float(t), [*OWN, *OTHERS]), 4.0)
    monitor.begin_visit(30.0, 4)
    monitor.end_visit(34.0, more_users=False)
    assert not monitor.is_judged(monitor.visits[0], 59.0)
