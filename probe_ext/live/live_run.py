"""One run as it goes on: takes every row, and returns once a second what is to be shown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from probe_ext.live import history
from probe_ext.live.cpu_load import CpuTrack
from probe_ext.live.history import History
from probe_ext.live.live_levels import LevelNow, Levels, Rules
from probe_ext.live.named_stats import Names, Streaming
from probe_ext.live.reply_batch import judge
from probe_ext.live.server_now import ServerNow
from probe_ext.live.window import Window, WindowFigures
from probe_ext.measure.outcome import Outcome, is_failure
from probe_ext.measure.table_rows import ReplyRow, ServerRow, UserRow
from probe_ext.verdict.grading.user_grades import UserCounts

ENDING = frozenset({"stopping", "stopped", "cleanup"})
COLUMNS = {
    "users": history.last,
    "users_served": history.last,
    "users_strained": history.last,
    "users_broken": history.last,
    "users_undecided": history.last,
    "users_unheard": history.last,
    "ttft_p50": history.largest,
    "ttft_p95": history.largest,
    "decode_rate_p50": history.smallest,
    "decode_rate_p05": history.smallest,
    "longest_gap_max": history.largest,
    "tokens_per_s": history.last,
    "kv_usage": history.largest,
    "running": history.largest,
    "waiting": history.largest,
    "preemptions": history.total,
    "failed": history.total,
}
"""what is drawn over time, and how several seconds are merged into one point: the worst, or the last"""


@dataclass(frozen=True)
class Now:
    """The figures of one moment. Seconds of the run."""

    t: float
    users: int
    target: int | None
    users_served: int
    users_strained: int
    users_broken: int
    users_undecided: int
    users_unheard: int
    window_s: float
    window: WindowFigures
    replies: int
    """finished since the run began"""
    failed: int
    last_reply: float | None
    """end of the newest reply"""
    kv_usage: float | None
    running: float | None
    waiting: float | None
    preemptions: int | None
    """since the run began"""
    server_heard: float | None
    settles_in: float | None
    """seconds until the level's measured part starts"""
    level: LevelNow | None
    """the level that is being measured"""


class LiveRun:
    """Takes rows in any order, and updates the figures at each tick."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.now: Now | None = None
        """the newest figures"""
        self.levels, self.names = Levels(rules), Names()
        self.history = History(COLUMNS)
        self.cpu = CpuTrack()
        self._window, self._server = Window(), ServerNow()
        self._new_rows: list[ReplyRow] = []
        self._replies = self._failed = self._new_failed = 0
        self._last_reply: float | None = None
        self._users: UserRow | None = None

    def on_reply(self, row: ReplyRow) -> None:
        """Add a finished reply."""
        self._new_rows.append(row)
        self._replies += 1
        self._new_failed += is_failure(Outcome(row.outcome))
        self._last_reply = max(self._last_reply or 0.0, row.end)

    def on_server(self, rows: Sequence[ServerRow]) -> None:
        """Add server metrics."""
        self._server.add(rows)

    def on_users(self, row: UserRow) -> None:
        """Note the number of users."""
        self._users = row
        if self.levels.note_users(row.t, row.users, ending=row.state in ENDING) and row.state not in ENDING:
            self._window.restart(row.t)

    def tick(self, t: float) -> Now:
        """Update the figures with what has arrived; `t` is the second of the run."""
        rows, self._new_rows = self._new_rows, []
        if rows:
            batch = judge(rows, self.rules.profile)
            truncated = self.levels.overtaken
            self.levels.add(judge(rows, self.rules.profile, self.levels.judged_until) if truncated else batch)
            self.names.add(batch)
            self._window.push(t, batch)
        else:
            self._window.expire(t)
        new_preemptions = self._server.new_preemptions()
        level = self.levels.present
        kv, waiting = self._server.kv_usage(t), self._server.requests("waiting", t)
        if level is not None:
            level.note_server(kv, waiting, new_preemptions)
        self.now = self._moment(t, kv, waiting, level.now(self.rules) if level else None)
        self.history.add(self._point(self.now, new_preemptions))
        self._failed, self._new_failed = self._failed + self._new_failed, 0
        return self.now

    def _moment(self, t: float, kv: float | None, waiting: float | None, level: LevelNow | None) -> Now:
        users = self._users.users if self._users else 0
        people: UserCounts = self._window.people(self.rules.profile.users)
        with_replies = int(people.judged)
        return Now(
            t=t,
            users=users,
            target=self._users.target if self._users else None,
            users_served=int(people.served),
            users_strained=int(people.strained),
            users_broken=int(people.broken),
            users_undecided=int(people.undecided),
            users_unheard=max(0, users - with_replies),
            window_s=self._window.seconds,
            window=self._window.figures(t),
            replies=self._replies,
            failed=self._failed + self._new_failed,
            last_reply=self._last_reply,
            kv_usage=kv,
            running=self._server.requests("running", t),
            waiting=waiting,
            preemptions=self._server.preemptions,
            server_heard=self._server.last_row,
            settles_in=self.levels.settled_in(t),
            level=level,
        )

    def _point(self, now: Now, new_preemptions: int | None) -> dict[str, float | None]:
        figures: dict[str, Any] = {**asdict(now), **asdict(now.window)}
        figures.update(preemptions=new_preemptions, failed=self._new_failed)
        return {name: figures[name] for name in ("t", *COLUMNS)}

    def streaming(self) -> list[Streaming]:
        """Return the figures by name."""
        return self.names.table()

    def lags(self) -> dict[str, float]:
        """Return each worker's largest receive lag in the window, in seconds."""
        return self._window.lags()
