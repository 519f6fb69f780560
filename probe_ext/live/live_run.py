"""One run as it goes on: takes every row, and returns once a second what is to be shown."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from probe_ext.live import history
from probe_ext.live.capacity_range.range_memory import Widening
from probe_ext.live.cpu_load import CpuTrack
from probe_ext.live.failures import Failures
from probe_ext.live.generator_check import GeneratorCheck
from probe_ext.live.history import History
from probe_ext.live.live_levels import LevelNow, Levels, Rules
from probe_ext.live.named_stats import Names, Streaming
from probe_ext.live.reply_batch import judge
from probe_ext.live.rolling_replies import RollingNow, RollingReplies
from probe_ext.live.server.gpu_now import GpuNow
from probe_ext.live.server.server_now import ServerNow
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.live.window import Window, WindowFigures
from probe_ext.measure.table_rows import GpuRow, ReplyRow, ServerRow, UserRow
from probe_ext.verdict.levels.find_levels import STOPPING
from probe_ext.verdict.phrasing.plurals import Who
from probe_ext.verdict.results.rolling_windows import WINDOW_S

COLUMNS = {
    "users": history.last,
    "served": history.last,
    "strained": history.last,
    "broken": history.last,
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
    "gpu_utilisation": history.largest,
    "gpu_power": history.largest,
    "gpu_temperature": history.largest,
}
"""what is drawn over time, and how several seconds are merged into one point: the worst, or the last"""


@dataclass(frozen=True)
class Now:
    """The figures of one moment. Seconds of the run."""

    t: float
    users: int
    """or the rate of an open stream"""
    target: int | None
    position: str
    """current step of the plan; empty without one"""
    window_s: float
    window: WindowFigures
    replies: int
    """finished since the run began"""
    failed: int
    failure: str | None
    """why replies failed, in the server's own words, if all for the same reason"""
    advice: str
    """the option that helps, where load is not the reason"""
    gone: str
    """how and since when the server no longer answers; empty while it does"""
    last_reply: float | None
    """end of the newest reply"""
    kv_usage: float | None
    running: float | None
    waiting: float | None
    preemptions: int | None
    """since the run began"""
    server_heard: float | None
    gpu_utilisation: float | None
    """of the busiest GPU"""
    gpu_power: float | None
    """watts, all GPUs together"""
    gpu_temperature: float | None
    """°C, of the hottest GPU"""
    settles_in: float | None
    """seconds until the level's measured part starts"""
    level: LevelNow | None
    """the level that is being measured"""
    pause: float | None
    """mean seconds between a reply and the same user's next request; None where users ask again at once"""
    rolling: RollingNow | None = None
    """None before the run is as long as its rolling window"""
    who: Who = "people"
    """what the users are called"""
    widening: Widening | None = None
    """why the range of the capacity is wider than it was"""


class LiveRun:
    """Takes rows in any order, and updates the figures at each tick."""

    def __init__(
        self, rules: Rules, monitor: VisitMonitor, metrics_every: float = 1.0, rolling_s: float = WINDOW_S
    ) -> None:
        """`rolling_s`: seconds of the rolling window."""
        self.rules = rules
        self.now: Now | None = None
        """the newest figures"""
        self.levels, self.names = Levels(rules, monitor), Names()
        self.history = History(COLUMNS)
        self.cpu, self.generator = CpuTrack(), GeneratorCheck()
        self._monitor = monitor
        self._window, self._server, self._failures = Window(), ServerNow(metrics_every), Failures()
        self._gpus = GpuNow(metrics_every)
        self._rolling = RollingReplies(rolling_s)
        self._new_rows: list[ReplyRow] = []
        self._replies = self._failed_before = 0
        self.replies_of: Counter[str] = Counter()
        """by worker, as of the newest figures"""
        self._last_reply: float | None = None
        self._users: UserRow | None = None

    def on_reply(self, row: ReplyRow) -> None:
        """Add a finished reply."""
        self._monitor.add(row)
        self._new_rows.append(row)
        self._replies += 1
        self._failures.add(row)
        self._last_reply = max(self._last_reply or 0.0, row.end)

    def on_server(self, rows: Sequence[ServerRow]) -> None:
        """Add server metrics."""
        self._server.add(rows)

    def on_gpu(self, rows: Sequence[GpuRow]) -> None:
        """Add GPU metrics."""
        self._gpus.add(rows)

    def on_users(self, row: UserRow) -> None:
        """Note the number of users."""
        self._users = row
        if self.levels.note_users(row) and row.state not in STOPPING:
            self._window.restart(row.t)

    def tick(self, t: float, *, final: bool = False, position: str = "", target: int | None = None) -> Now:
        """Update the figures with what has arrived; `t` is the second of the run; the rest is the plan's."""
        rows, self._new_rows = self._new_rows, []
        if rows:
            batch = judge(rows, self.rules.profiles)
            self.names.add(batch)
            self._rolling.add(rows)
            self.replies_of.update(row.worker for row in rows)
            self.generator.add(rows)
            self._window.push(t, batch)
        else:
            self._window.expire(t)
        new_preemptions = self._server.new_preemptions()
        kv, waiting = self._server.kv_usage(t), self._server.requests("waiting", t)
        self.levels.note_server(t, kv, waiting, new_preemptions)
        self.levels.update(t, final=final)
        self.now = self._moment(t, kv, waiting, position, target)
        self.history.add(self._point(self.now, new_preemptions))
        self._failed_before = self._failures.number
        return self.now

    def _moment(self, t: float, kv: float | None, waiting: float | None, position: str, target: int | None) -> Now:
        sampled = self._users.target if self._users else None
        reason = self._failures.common_reason()
        return Now(
            t=t,
            users=self.levels.users,
            target=sampled if target is None else target,
            position=position,
            window_s=self._window.seconds,
            window=self._window.figures(t),
            replies=self._replies,
            failed=self._failures.number,
            failure=reason.words if reason else None,
            advice=reason.advice if reason else "",
            gone=self._failures.gone(),
            last_reply=self._last_reply,
            kv_usage=kv,
            running=self._server.requests("running", t),
            waiting=waiting,
            preemptions=self._server.preemptions,
            server_heard=self._server.last_row,
            gpu_utilisation=self._gpus.busiest(t),
            gpu_power=self._gpus.power(t),
            gpu_temperature=self._gpus.hottest(t),
            settles_in=self.levels.settled_in(t),
            level=self.levels.present,
            pause=self.levels.pause,
            rolling=self._rolling.now(t),
            who=self.rules.who,
            widening=self.levels.widening,
        )

    def _point(self, now: Now, new_preemptions: int | None) -> dict[str, float | None]:
        figures: dict[str, Any] = {**asdict(now.window), **asdict(now)}
        figures.update(preemptions=new_preemptions, failed=now.failed - self._failed_before)
        return {name: figures[name] for name in ("t", *COLUMNS)}

    def streaming(self) -> list[Streaming]:
        """Return the figures by name."""
        return self.names.table()

    def lags(self) -> dict[str, float]:
        """Return each worker's largest receive lag in the window, in seconds."""
        return self._window.lags()
