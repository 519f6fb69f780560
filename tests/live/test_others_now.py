"""Others' load while a run goes on: what is said at once, and what a plan or search no longer reads."""

import numpy as np
import pytest
from worlds import CHAT, reply

from probe_ext.live.server.others_now import OthersNow
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.load.boundary_search import SearchPlan
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
