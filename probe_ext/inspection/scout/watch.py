"""Probe several servers on a fixed grid until somebody stops it."""

import math
from collections.abc import Callable, Sequence

import gevent

from probe_ext.inspection.scout.candidate import Candidate
from probe_ext.inspection.scout.leaderboard import Row, State, ranked
from probe_ext.inspection.scout.rolling_window import ProbeResult, RollingWindow
from probe_ext.measure import clock


class Watched:
    """One server and its window."""

    def __init__(self, candidate: Candidate, window: float) -> None:
        self.candidate = candidate
        self.window = RollingWindow(window)

    def probe(self, pairs: int, due: float, every: float) -> None:
        """Probe once; a server that was down is asked anew what it is, and its evidence starts again."""
        last = self.window.last
        if last is None or last.down:
            self.candidate.identify()
        result = self.candidate.probe(pairs)
        if last is not None and last.down and not result.down:
            self.candidate.forget_evidence()
        self.window.add(_with_slots(result, due, every))

    def state(self, now: float) -> State:
        """Return the state of this moment."""
        self.window.expire(now)
        candidate = self.candidate
        return State(
            url=candidate.url,
            server=candidate.server,
            pages=candidate.pages,
            with_key=candidate.with_key,
            figures=self.window.figures(),
            last=self.window.last,
            outages=tuple(self.window.outages),
            suspicion=candidate.evidence.suspicion(),
            token_check=candidate.token_check,
        )


def _with_slots(result: ProbeResult, due: float, every: float) -> ProbeResult:
    """Return the result with the number of probing intervals that it took."""
    slots = max(1, math.ceil((result.ended - due) / every))
    return ProbeResult(
        result.started, result.ended, result.sent, result.answered, result.tokens, result.ttfts, result.error, slots
    )


class Watch:
    """All servers. `on_probe` is called after each probe with the server's URL."""

    def __init__(self, candidates: Sequence[Candidate], window: float, on_probe: Callable[[str], None]) -> None:
        self._watched = [Watched(candidate, window) for candidate in candidates]
        self._on_probe = on_probe

    def once(self, pairs: int) -> None:
        """Probe all servers once, one after another, so that they do not share this machine's time."""
        for watched in self._watched:
            watched.probe(pairs, clock.monotonic(), every=math.inf)
            self._on_probe(watched.candidate.url)

    def start(self, every: float, pairs: int) -> "list[gevent.Greenlet[..., None]]":
        """Probe every server each `every` seconds, from now on; the caller ends the greenlets."""
        began = clock.monotonic()
        return [gevent.spawn(self._forever, watched, began, every, pairs) for watched in self._watched]

    def _forever(self, watched: Watched, due: float, every: float, pairs: int) -> None:
        while True:
            watched.probe(pairs, due, every)
            self._on_probe(watched.candidate.url)
            due += every * max(1, math.ceil((clock.monotonic() - due) / every))
            gevent.sleep(max(0.0, due - clock.monotonic()))

    def rows(self) -> list[Row]:
        """Return the board as of now."""
        now = clock.monotonic()
        return ranked([watched.state(now) for watched in self._watched])

    def close(self) -> None:
        """Close all connections."""
        for watched in self._watched:
            watched.candidate.close()
