"""The history of a run of hours takes no more memory than one of minutes, and keeps every peak."""

import pickle

import pytest
from worlds import CHAT, reply

from probe_ext.live import history, live_levels, reply_store
from probe_ext.live.history import MAX_POINTS, RECENT_POINTS, History
from probe_ext.live.live_levels import Rules
from probe_ext.live.live_run import COLUMNS, LiveRun
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.measure.table_rows import ServerRow, UserRow

HOURS = 4
MERGES = {"users": history.last, "peak": history.largest, "low": history.smallest, "marks": history.total}


def test_four_hours_keep_peaks_in_few_points() -> None:
    kept = History(MERGES)
    for second in range(HOURS * 3600):
        peak = 0.99 if second == 7777 else 0.5
        marks = 1.0 if second % 100 == 0 else None
        kept.add({"t": float(second), "users": second // 60, "peak": peak, "low": 1 - peak, "marks": marks})
    whole, recent = kept.whole(), kept.recent()
    assert MAX_POINTS / 2 < len(whole["t"]) <= MAX_POINTS
    assert whole["step"] == 32.0
    assert {len(column) for name, column in whole.items() if name != "step"} == {len(whole["t"])}
    assert (max(whole["peak"]), min(whole["low"])) == (0.99, pytest.approx(0.01))
    assert sum(value or 0 for value in whole["marks"]) == HOURS * 36
    assert whole["users"][-1] == HOURS * 60 - 1
    assert whole["t"] == sorted(set(whole["t"]))
    assert (len(recent["t"]), recent["step"], recent["t"][-1]) == (RECENT_POINTS, 1.0, HOURS * 3600 - 1.0)


def test_missing_values_stay_missing() -> None:
    kept = History(MERGES, max_points=2)
    for second, value in enumerate([None, 3.0, None, None]):
        kept.add({"t": float(second), "users": value, "peak": value, "low": value, "marks": value})
    whole = kept.whole()
    assert whole == {"step": 2.0, "t": [0.0, 2.0], "users": [3.0, None], "peak": [3.0, None], "low": [3.0, None],
                     "marks": [3.0, None]}  # fmt: skip


@pytest.mark.long
def test_memory_does_not_grow_over_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """All limits are made smaller, so that a run of two hours reaches them."""
    monkeypatch.setattr(live_levels, "MAX_LEVELS", 10)
    monkeypatch.setattr(live_levels, "_MAX_SAMPLES", 100)
    monkeypatch.setattr(reply_store, "MAX_RISES", 50)
    monkeypatch.setattr(reply_store, "MAX_REPLIES", 200)
    live, sizes, every = LiveRun(Rules(CHAT), VisitMonitor(CHAT, 3)), [], 12
    for turn in range(HOURS * 3600 // every):
        t = float(every * turn)
        users = 2 + turn // 10 % 5
        live.on_users(UserRow(t, users, users, "running"))
        live.on_reply(reply(turn % users, t - 2.0))
        live.on_server([ServerRow(t, "u", "0", "kv_usage", 0.5), ServerRow(t, "u", "0", "preemptions", turn)])
        live.tick(t)
        if turn * every % 3600 == 3600 - every:
            sizes.append(len(pickle.dumps(live)))
    assert live.now is not None
    assert live.now.replies == HOURS * 3600 // every
    assert len(live.history.whole()["t"]) <= MAX_POINTS
    assert set(live.history.whole()) == {"step", "t", *COLUMNS}
    assert len(live.levels.all) == 10
    # If it kept everything, the size would have doubled; the points stay between half of MAX_POINTS and MAX_POINTS.
    assert sizes[3] < 1.3 * sizes[1], sizes
