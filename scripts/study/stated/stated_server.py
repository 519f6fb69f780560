"""A stated server that answers users who come and go, so that a search can be held against a stated truth.

As in `stated_truth`, time is cut into blocks whose served share scatters around the stated one. It stands in for the
engine in `virtual_run.drive`.
"""

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable

import numpy as np

from probe_ext.measure.table_rows import GapRow, ReplyRow, ServerRow
from probe_ext.measure.unfinished import MAX_AGE_S, PACE_OVER_S, Counts, EarlyCount
from scripts.study.stated.stated_truth import BLOCK_S, StatedCase
from scripts.study.virtual.reply_notes import Notes

TOKENS_PER_S = 15.0
"""of every reply: only the first token decides whether it is served"""
PROMPT_TOKENS = 200
SERVED_TTFT_S, STRAINED_TTFT_S = 0.3, 1.5
KNOWN_S = SERVED_TTFT_S + PACE_OVER_S
"""age at which a reply in flight can be judged"""


class StatedSwarm:
    """Users of a stated server, with the interface of `swarm.Swarm`."""

    def __init__(self, case: StatedCase, seed: int, on_reply: Callable[[ReplyRow], None]) -> None:
        self.gaps: list[GapRow] = []
        self.tokens: Counter[int] = Counter()
        self.started = 0
        self.ending = False
        self.server = self
        self._case, self._on_reply = case, on_reply
        self._rng = np.random.default_rng([sum(map(ord, case.name)), seed])
        self._names, self._numbers = itertools.count(), itertools.count(1)
        self._users: dict[int, float | None] = {}
        """each user's request in flight: when it was sent"""
        self._events: list[tuple[float, int, float, bool]] = []
        """end, user, sent, served"""
        self._fate: dict[int, bool] = {}
        """whether each user's latest request is served"""
        self._block, self._uniform = -1, 0.5

    @property
    def users(self) -> int:
        return len(self._users)

    @property
    def in_flight(self) -> int:
        return sum(sent is not None for sent in self._users.values())

    def unfinished(self, now: float) -> Counts:
        """What a client knows of the replies in flight: whether the first token was late."""
        by_age: list[list[bool]] = [[] for _ in range(MAX_AGE_S + 1)]
        for user, sent in self._users.items():
            if sent is not None and now - sent >= KNOWN_S:
                by_age[min(MAX_AGE_S, int(now - sent))].append(self._fate[user])
        return tuple(EarlyCount(len(fates), fates.count(False), 0) for fates in by_age)

    def sample(self, t: float) -> list[ServerRow]:
        """It has no metrics."""
        return []

    def join(self, now: float) -> None:
        """Add a user, who asks at once."""
        user = next(self._names)
        self._ask(user, now)

    def leave(self, now: float) -> None:
        """Remove the newest user; we end the reply in flight."""
        user = next(reversed(self._users))
        sent = self._users.pop(user)
        if sent is not None:
            self._on_reply(self._row(now, user, sent, served=self._fate[user], finish=None))

    def cut_all(self, now: float) -> None:
        """End what is still in flight."""
        while self.users:
            self.leave(now)

    def run_until(self, moment: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= moment:
            end, user, sent, served = heapq.heappop(self._events)
            if self._users.get(user) == sent:
                self._users[user] = None
                self._on_reply(self._row(end, user, sent, served=served, finish="stop"))
                if not self.ending:
                    self._ask(user, end)

    def _ask(self, user: int, now: float) -> None:
        self.started += 1
        self._users[user] = now
        took = self._case.reply_s * self._rng.lognormal(-0.02, 0.2)
        self._fate[user] = served = bool(self._rng.random() < self._share(now))
        heapq.heappush(self._events, (now + max(took, STRAINED_TTFT_S + 0.1), user, now, served))

    def _share(self, now: float) -> float:
        """The share of this block: a beta draw around the stated one of the users there are now."""
        block = int(now / BLOCK_S)
        if block != self._block:
            if block != self._block + 1 or self._rng.random() >= self._case.lag:
                self._uniform = float(self._rng.random())
            self._block = block
        mean = float(np.clip(self._case.share(self.users), 1e-6, 1 - 1e-6))
        if not self._case.icc:
            return mean
        size = (1 - self._case.icc) / self._case.icc
        return _beta_quantile(self._uniform, mean, size)

    def _row(self, end: float, user: int, sent: float, *, served: bool, finish: str | None) -> ReplyRow:
        notes = Notes(next(self._numbers), f"virtual:{user}", sent, PROMPT_TOKENS)
        first = sent + (SERVED_TTFT_S if served else STRAINED_TTFT_S)
        if first <= end:
            notes.first, notes.last = first, end
            notes.tokens, notes.longest = math.ceil(TOKENS_PER_S * (end - first)) + 1, 0.1
        return notes.row(end, finish)


def _beta_quantile(uniform: float, mean: float, size: float) -> float:
    """A beta variable by its rank, so that all users of a block share one fate whatever the level."""
    grid, cumulated = _table(round(mean, 3), size)
    return float(np.interp(uniform, cumulated, grid))


_TABLES: dict[tuple[float, float], tuple[np.ndarray, np.ndarray]] = {}


def _table(mean: float, size: float) -> tuple[np.ndarray, np.ndarray]:
    if (mean, size) not in _TABLES:
        draws = np.sort(np.random.default_rng(1).beta(max(mean, 1e-3) * size, max(1 - mean, 1e-3) * size, 4000))
        _TABLES[mean, size] = draws, (np.arange(4000) + 0.5) / 4000
    return _TABLES[mean, size]
