"""The levels of a running test, and its capacity so far: the report's estimator on the replies that have ended.

A plan says itself when its levels are measured. For load that is controlled by hand, levels and bands are found as the
report finds them.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from probe_ext.live.capacity_range.range_memory import RangeMemory, Widening
from probe_ext.live.reply_store import Span
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.measure import clock
from probe_ext.measure.rate import Rate
from probe_ext.measure.table_rows import UserRow
from probe_ext.settings.options import Plan
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence.columns import from_rows
from probe_ext.verdict.evidence.evidence import percentile, quantile
from probe_ext.verdict.grading.kind_profiles import Kind, KindProfiles
from probe_ext.verdict.levels.find_levels import (
    MAX_SAMPLE_GAP_S,
    SETTLE_S,
    STOPPING,
    backlog_times,
    drain_times,
    find_levels,
    is_open_stream,
)
from probe_ext.verdict.phrasing.plurals import Who
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, Reason
from probe_ext.verdict.values.json_types import State
from probe_ext.verdict.values.others_share import OthersShare

MAX_LEVELS = 100
"""of load controlled by hand, the newest"""
UPDATE_EVERY_S = 2.0
MAX_CPU_SHARE = 0.05
UPDATE_SPACING = 0.002
"""of the run so far: an update reads all replies, so that a run of hours would cost ever more"""
"""of a core: after a slow update the next one is put off"""
_MAX_SAMPLES = 20_000
EARLY_REPLIES = 10
"""of an open stream: with fewer, it is too early to say"""


@dataclass(frozen=True)
class Rules:
    """How this run is judged. Seconds."""

    profile: SloProfile
    settle: float = SETTLE_S
    planned: bool = False
    """whether a plan says when levels are measured"""
    kinds: tuple[Kind, ...] = ()
    """kinds of user that are judged by profiles of their own"""
    who: Who = "people"
    """what the users are called"""

    @property
    def profiles(self) -> KindProfiles:
        return KindProfiles(self.profile, self.kinds)


def rules_of(plan: Plan | None, profiles: KindProfiles, who: Who = "people") -> Rules:
    """Return the rules by which the report will find and judge this run's levels."""
    slo, kinds = profiles.default, profiles.kinds
    if plan is None:
        return Rules(slo, kinds=kinds, who=who)
    return Rules(slo, plan.settle, planned=True, kinds=kinds, who=who)


@dataclass(frozen=True)
class LevelNow:
    """One visit to a level so far; names as in `capacity.json`."""

    users: int
    visit: int
    """1 for the first visit with this number of users"""
    band: bool
    t_start: float
    t_end: float | None
    """None while it goes on"""
    state: State
    """this and the shares: by the replies of all visits with this number of users"""
    reasons: tuple[Reason, ...]
    """why it is unproven"""
    served_share: float | None
    replies_judged: int | None
    """of which the share is: while the level goes on, without the newest, or fast replies would dominate"""
    served_share_low: float | None
    served_share_high: float | None
    replies_needed: int | None
    """further replies that would probably prove it"""
    why: tuple[str, ...]
    """dimensions that alone make it fall short, the worst first"""
    replies: int
    """sent in this visit; the figures below are of the judged ones once it has ended"""
    ttft_p50: float | None
    ttft_p95: float | None
    decode_rate_p50: float | None
    longest_gap_max: float | None
    kv_usage_max: float | None
    waiting_max: float | None
    preemptions: int | None
    others: OthersShare | None = None
    """what the server did for others; None while its counters do not tell"""

    @property
    def is_judged(self) -> bool:
        """Whether its replies reflect this run's load, and not that of others."""
        return self.others is None or not self.others.too_much

    @property
    def is_revisit(self) -> bool:
        """Whether state and shares are of earlier visits, too, while the figures are of this one."""
        return self.visit > 1

    @property
    def is_early(self) -> bool:
        """Whether most users have no judged reply yet."""
        few = EARLY_REPLIES if isinstance(self.users, Rate) else self.users
        return self.served_share is None or (self.state == "unproven" and self.replies < few)

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {**asdict(self), "early": self.is_early}


class Levels:
    """All levels of a run, from the number of users and the replies."""

    def __init__(self, rules: Rules, monitor: VisitMonitor) -> None:
        self.rules = rules
        self.users = 0
        self.since = 0.0
        """when the number of users last changed"""
        self.all: Sequence[LevelNow] = ()
        """in order of time, as of the last update"""
        self.estimate: CapacityEstimate | None = None
        """None before the first level"""
        self.widening: Widening | None = None
        """why the range of the estimate is wider than it was"""
        self._memory = RangeMemory(rules.who)
        self._monitor = monitor
        self._samples: deque[UserRow] = deque(maxlen=_MAX_SAMPLES)
        """the first and the last of each number of users"""
        self._server: deque[tuple[float, float, float, float]] = deque(maxlen=_MAX_SAMPLES)
        self._stopping = False
        self._next_update = 0.0

    @property
    def present(self) -> LevelNow | None:
        """The level that is being measured; None while the number of users changes or settles."""
        last = self.all[-1] if self.all else None
        if last is None or last.t_end is not None or last.users != self.users or self._stopping:
            return None
        ended = self.rules.planned and self._monitor.visits[-1].end is not None  # since the last update
        return None if ended else last

    @property
    def needed_share(self) -> float:
        """Share of a person's replies that must be served."""
        return self._monitor.needed_share

    @property
    def pause(self) -> float | None:
        """Mean pause of the users so far, seconds; None where they ask again at once."""
        return self._monitor.pause

    def note_users(self, row: UserRow) -> bool:
        """Note the number of users; True if it has fallen."""
        load = row.users if row.rate is None else Rate.of(row.rate)
        before, self.users = self.users, load
        last = self._samples[-1] if self._samples else None
        if load != before:
            self.since = last.t if last and row.t - last.t <= MAX_SAMPLE_GAP_S else row.t
            if load > before and not self.rules.planned:
                self._monitor.replies.note_rise(self.since)
        if row.state in STOPPING and not self._stopping:
            self._stopping = True
            self._end_visit(row.t)
        same = len(self._samples) > 1 and all(
            (one.users, one.rate, one.state) == (row.users, row.rate, row.state)
            for one in (self._samples[-1], self._samples[-2])
        )
        if same:
            self._samples.pop()
        self._samples.append(row)
        return load < before

    def _end_visit(self, t: float) -> None:
        """End the plan's visit where the run was stopped in the middle of it."""
        if self._monitor.visits and self._monitor.visits[-1].end is None:
            self._monitor.end_visit(t, more_users=False)

    def note_server(self, t: float, kv_usage: float | None, waiting: float | None, preemptions: int | None) -> None:
        """Add server metrics; `preemptions` since the last call."""
        self._server.append((t, _nan(kv_usage), _nan(waiting), _nan(preemptions)))

    def update(self, now: float, *, final: bool = False) -> None:
        """Estimate anew, if it is due."""
        if now < self._next_update and not final:
            return
        started = clock.cpu()  # not monotonic: on a busy machine, waiting for the CPU would put updates off by minutes
        spans = self._monitor.visits if self.rules.planned else self._found_spans()
        judged = any(self._monitor.is_judged(span, now) for span in spans)
        self.estimate = self._monitor.estimate_of(spans, now) if judged else None
        self.widening = self._memory.update(now, self.estimate)
        server = np.array(self._server).reshape(-1, 4)
        seen = Counter[int]()
        levels = []
        for span in spans:
            seen[span.users] += 1
            levels.append(self._level(span, seen[span.users], now, server))
        self.all = levels
        took = clock.cpu() - started
        self._next_update = now + max(UPDATE_EVERY_S, UPDATE_SPACING * now, took / MAX_CPU_SHARE)

    def _found_spans(self) -> list[Span]:
        """Find levels as the report does; a band of the stretch that goes on may yet become a level."""
        if not self._samples:
            return []
        last, samples = self._samples[-1].t, from_rows(list(self._samples), UserRow)
        drained_at = (backlog_times if is_open_stream(samples) else drain_times)(*self._monitor.replies.times())
        levels = find_levels(samples, None, None, (), drained_at)
        return [
            Span(
                level.users,
                level.t_start,
                None if level.t_end >= last and not self._stopping else level.t_end,
                level.band,
            )
            for level in levels
            if not level.band or self._stopping or level.t_end <= self.since
        ][-MAX_LEVELS:]

    def _level(self, span: Span, visit: int, now: float, server: np.ndarray) -> LevelNow:
        rows = self._monitor.replies.figure_rows(span)
        known = self.estimate.level(span.users) if self.estimate else None
        others = self._monitor.others(span, now)
        ttft, rate, gap = (rows[name].astype(np.float64) for name in ("ttft", "rate", "gap"))
        of_span = server[(server[:, 0] >= span.start) & (server[:, 0] <= (span.end or np.inf))]
        kv_usage, waiting, preempted = (of_span[:, column] for column in (1, 2, 3))
        return LevelNow(
            users=span.users,
            visit=visit,
            band=span.band,
            t_start=span.start,
            t_end=span.end,
            state=known.state if known else "unproven",
            reasons=known.reasons if known else () if others is None or not others.too_much else ("other_load",),
            served_share=known.served_share if known else None,
            replies_judged=known.replies if known else None,
            served_share_low=known.share_low if known else None,
            served_share_high=known.share_high if known else None,
            replies_needed=known.replies_needed if known else None,
            why=self._why(span, now),
            replies=len(self._monitor.replies.rows_of(span)),
            ttft_p50=quantile(ttft, 0.50),
            ttft_p95=percentile(ttft, "p95"),
            decode_rate_p50=quantile(rate, 0.50),
            longest_gap_max=quantile(gap, 1.0),
            kv_usage_max=quantile(kv_usage, 1.0),
            waiting_max=quantile(waiting, 1.0),
            preemptions=None if np.isnan(preempted).all() else int(np.nansum(preempted)),
            others=others,
        )

    def _why(self, span: Span, now: float) -> tuple[str, ...]:
        shares: Mapping[str, float] = self._monitor.replies.shares(span, now)
        short = [dimension for dimension in shares if shares[dimension] < self._monitor.needed_share]
        return tuple(sorted(short, key=lambda dimension: shares[dimension]))

    def settled_in(self, now: float) -> float | None:
        """Return seconds until the measured part starts; None if it has, or without users."""
        left = self.since + self.rules.settle - now
        return left if self.users and self.present is None and left > 0 else None


def _nan(value: float | None) -> float:
    return np.nan if value is None else value
