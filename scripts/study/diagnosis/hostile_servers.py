"""Servers that mislead: each has a limit, or none, that another one looks like."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from probe_ext.measure.table_rows import ReplyRow
from probe_ext.sim.profile import Profile, load_profile
from scripts.study.diagnosis.hostile_swarm import Flight, HostileSwarm, PacedEngine, Path
from scripts.study.virtual.people import People

DEMO = load_profile("demo")
QWEN = load_profile("rtx3060-qwen2.5-7b-awq")
WALL = load_profile("demo-wall")
TI = load_profile("rtx5060ti-qwen2.5-7b-awq")
PLAIN = People()
MOE = load_profile("a100-moe-35b-int4")
ROOMY = replace(DEMO, max_num_seqs=64, kv_pool_bytes=1e9)
"""a card on which neither slots nor memory run out"""
RISING = replace(ROOMY, sequence_overhead_s=0.0004)
"""one whose throughput rises far beyond the levels tried"""


class TokenRate(Path):
    """A gateway that passes so many tokens a second, all users together."""

    def __init__(self, rate: float = 250.0) -> None:
        super().__init__()
        self.interval, self.free = 1 / rate, 0.0

    def token(self, flight: Flight, now: float) -> None:
        self.free = max(now, self.free) + self.interval
        flight.ended = self.free
        self.world.at(self.free, lambda then: self.world.receive(flight, then))

    def finish(self, flight: Flight, now: float) -> None:
        self.world.at(flight.ended or now, lambda then: self.world.end(flight, then))


class Places(Path):
    """A gateway that lets so many requests through at once; the others wait in it."""

    def __init__(self, places: int) -> None:
        super().__init__()
        self.free, self.queue = places, deque[Flight]()

    def ask(self, flight: Flight, now: float) -> None:
        self.queue.append(flight)
        self.admit(now)

    def admit(self, now: float) -> None:
        while self.free and self.queue:
            flight = self.queue.popleft()
            if not flight.over:
                self.free -= 1
                self.world.submit(flight, now)

    def finish(self, flight: Flight, now: float) -> None:
        self.free += 1
        super().finish(flight, now)
        self.admit(now)

    def aborted(self, flight: Flight, now: float) -> None:
        self.free += flight.started
        self.admit(now)


class Rejecting(Path):
    """A gateway that answers 429 beyond so many requests at once, or a second."""

    def __init__(self, places: int = 10**6, per_s: float = 1e6) -> None:
        super().__init__()
        self.places, self.per_s, self.tokens, self.since, self.busy = places, per_s, 5.0, 0.0, 0

    def ask(self, flight: Flight, now: float) -> None:
        self.tokens = min(5.0, self.tokens + (now - self.since) * self.per_s)
        self.since = now
        if self.tokens < 1 or self.busy >= self.places:
            self.world.at(now + 0.005, lambda then: self.world.end(flight, then, "rejected", 429))
            return
        self.tokens -= 1
        self.busy += 1
        self.world.submit(flight, now)

    def finish(self, flight: Flight, now: float) -> None:
        self.busy -= 1
        super().finish(flight, now)

    def aborted(self, flight: Flight, now: float) -> None:
        self.busy -= flight.started


class Distant(Path):
    """A way that takes `seconds` there and back; `jitter` is the sigma of a log-normal factor for each part."""

    def __init__(self, seconds: float, *, connects_there: bool, jitter: float = 0.0) -> None:
        super().__init__()
        self.half, self.jitter = seconds / 2, jitter
        self.connect = seconds if connects_there else 0.002

    def delay(self, _: Flight) -> float:
        return self.half * math.exp(self.random.gauss(0.0, self.jitter))

    def ask(self, flight: Flight, now: float) -> None:
        self.world.at(now + self.delay(flight), lambda then: self.world.submit(flight, then))

    def token(self, flight: Flight, now: float) -> None:
        flight.ended = max(flight.ended or 0.0, now + self.delay(flight))
        self.world.at(flight.ended, lambda then: self.world.receive(flight, then))

    def finish(self, flight: Flight, now: float) -> None:
        self.world.at(flight.ended or now, lambda then: self.world.end(flight, then))


class FarForSome(Distant):
    """A way that is long for one of `of` users, as from a distant worker."""

    def __init__(self, seconds: float, of: int) -> None:
        super().__init__(seconds, connects_there=False)
        self.of = of

    def delay(self, flight: Flight) -> float:
        return 0.001 if int(flight.notes.user.split(":")[1]) % self.of else self.half


class Shared(Path):
    """A key that others use as well: a share of the requests is answered 429, however many there are."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def ask(self, flight: Flight, now: float) -> None:
        if self.random.random() < self.share:
            self.world.at(now + 0.005, lambda then: self.world.end(flight, then, "rejected", 429))
        else:
            self.world.submit(flight, now)


class UsedUp(Path):
    """A quota of so many requests, after which each is answered 429."""

    def __init__(self, requests: int) -> None:
        super().__init__()
        self.left = requests

    def ask(self, flight: Flight, now: float) -> None:
        self.left -= 1
        if self.left < 0:
            self.world.at(now + 0.005, lambda then: self.world.end(flight, then, "rejected", 429))
        else:
            self.world.submit(flight, now)


class AtRandom(Path):
    """A balancer that picks an engine at random."""

    def __init__(self, engines: int) -> None:
        super().__init__()
        self.engines = engines

    def pick(self, flight: Flight) -> int:
        return self.random.randrange(self.engines)


class InTurn(Path):
    """A balancer that sends a user always to one engine, as many to each."""

    def __init__(self, engines: int) -> None:
        super().__init__()
        self.engines = engines

    def pick(self, flight: Flight) -> int:
        return int(flight.notes.user.split(":")[1]) % self.engines


class Sticky(Path):
    """A balancer that sends a user always to one engine, three of four to the first."""

    def pick(self, flight: Flight) -> int:
        return int(int(flight.notes.user.split(":")[1]) % 4 == 3)


class DistantCache(Path):
    """A cache 60 ms away answers a share of the questions."""

    def __init__(self, share: float = 0.6, seconds: float = 0.06) -> None:
        super().__init__()
        self.share, self.seconds = share, seconds

    def ask(self, flight: Flight, now: float) -> None:
        if self.random.random() >= self.share:
            self.world.submit(flight, now)
            return
        for token in range(flight.reply):
            self.world.at(now + self.seconds + 1e-6 * token, lambda then: self.world.receive(flight, then))
        self.world.at(now + self.seconds + 1e-6 * flight.reply, lambda then: self.world.end(flight, then))


class Bundled(Path):
    """Four tokens an event, and no usage: clients count events."""

    def token(self, flight: Flight, now: float) -> None:
        flight.held.append(now)
        if len(flight.held) % 4 == 0:
            self.world.receive(flight, now)

    def row(self, row: ReplyRow) -> ReplyRow:
        return replace(row, tokens_from="events", tokens_in=None, tokens_cached=None)


class Buffered(Path):
    """A proxy that sends everything at the end, or the first token and then everything."""

    def __init__(self, *, first: bool) -> None:
        super().__init__()
        self.first = first

    def token(self, flight: Flight, now: float) -> None:
        flight.held.append(now)
        if self.first and len(flight.held) == 1:
            self.world.receive(flight, now)

    def finish(self, flight: Flight, now: float) -> None:
        for n in range(len(flight.held) - self.first):
            self.world.at(now + 1e-5 * n, lambda then: self.world.receive(flight, then))
        self.world.at(now + 1e-5 * len(flight.held), lambda then: self.world.end(flight, then))


class Scaling(Path):
    """An autoscaler: one engine at first, three after a while."""

    def __init__(self, after: float = 45.0) -> None:
        super().__init__()
        self.after = after

    def pick(self, flight: Flight) -> int:
        return flight.notes.number % 3 if flight.notes.sent >= self.after else 0


class Neighbour(Path):
    """Somebody else's users on the same server, from a moment on."""

    def __init__(self, requests: int, since: float = 0.0) -> None:
        super().__init__()
        self.requests, self.since = requests, since

    def tick(self, now: float) -> None:
        if now < self.since or self.world.ending:
            return
        for _ in range(self.requests - len(self.world.for_others)):
            self.world.ask_for_others(0, 200, 80, now)


class Retrying(Path):
    """A gateway that asks a second time where no token came within a second, and never cancels the first."""

    def ask(self, flight: Flight, now: float) -> None:
        super().ask(flight, now)
        self.world.at(now + 1.0, lambda then: self.again(flight, then))

    def again(self, flight: Flight, now: float) -> None:
        if not flight.over and flight.notes.first is None:
            self.world.ask_for_others(0, flight.own, flight.reply, now)


class StaticBatches(Path):
    """Requests wait until the batch before them is finished as a whole."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.size, self.queue, self.batch = size, deque[Flight](), set[int]()

    def ask(self, flight: Flight, now: float) -> None:
        self.queue.append(flight)
        self.begin(now)

    def begin(self, now: float) -> None:
        if self.batch:
            return
        while self.queue and len(self.batch) < self.size:
            flight = self.queue.popleft()
            if not flight.over:
                self.batch.add(flight.notes.number)
                self.world.submit(flight, now)

    def finish(self, flight: Flight, now: float) -> None:
        self.batch.discard(flight.notes.number)
        super().finish(flight, now)
        self.begin(now)

    def aborted(self, flight: Flight, now: float) -> None:
        self.batch.discard(flight.notes.number)
        self.begin(now)


@dataclass(frozen=True)
class Hostile:
    """A misleading server, its users, and what may be said of it, with metrics and without."""

    bounds: frozenset[str]
    outside: frozenset[str]
    profile: Profile
    path: Callable[[], Path]
    levels: tuple[int, ...]
    people: People = PLAIN
    engines: int = 1
    slowdowns: tuple[Callable[[float], float], ...] = ()
    allowed: frozenset[str] = frozenset()
    """true as well, but not always to be seen"""
    outside_allowed: frozenset[str] = frozenset()

    def swarm(self, profile: Profile, people: People, seed: int, on_reply: Callable[[ReplyRow], None]) -> HostileSwarm:
        """People around this server."""
        slow = self.slowdowns or (lambda _: 1.0,) * self.engines
        return HostileSwarm([PacedEngine(profile, how) for how in slow], self.path(), people, seed, on_reply)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _hostile(  # noqa: PLR0913 - a table row
    bounds: str, outside: str, profile: Profile, path: Callable[[], Path], levels: tuple[int, ...],
    *, allowed: str = "", outside_allowed: str = "", people: People = PLAIN, engines: int = 1,
    slowdowns: tuple[Callable[[float], float], ...] = (),
) -> Hostile:  # fmt: skip
    return Hostile(
        _names(bounds), _names(outside), profile, path, levels, people, engines, slowdowns,
        _names(allowed), _names(outside_allowed),
    )  # fmt: skip


def _one_slow(engines: int, factor: float) -> tuple[Callable[[float], float], ...]:
    """Every engine at full speed but the last, whose steps take `factor` times as long."""
    return (*((lambda _: 1.0,) * (engines - 1)), lambda _: factor)


def _throttle(final: float, seconds: float) -> Callable[[float], float]:
    """Steps take longer and longer, up to `final` times as long after `seconds`."""
    return lambda t: 1 + (final - 1) * min(1.0, t / seconds)


HOSTILE: dict[str, Hostile] = {
    "gateway, 250 tokens/s": _hostile("gateway", "throughput_limit", ROOMY, TokenRate, (2, 8, 16, 32)),
    "gateway, 4 places": _hostile("gateway", "", ROOMY, lambda: Places(4), (2, 4, 8, 16)),
    "proxy, one at a time": _hostile("gateway", "serialised", ROOMY, lambda: Places(1), (1, 4, 8)),
    "GPU throttles": _hostile(
        "throttling", "", RISING, Path, (8, 16, 24, 32), slowdowns=(_throttle(3.0, 180.0),),
        outside_allowed="not_loaded"),
    "GPU throttles slowly": _hostile(
        "", "", ROOMY, Path, (4, 8, 12, 16), slowdowns=(_throttle(1.25, 180.0),), allowed="throttling not_loaded",
        outside_allowed="not_loaded"),
    "350 ms away": _hostile(
        "slow_path", "slow_path", ROOMY, lambda: Distant(0.35, connects_there=True), (1, 4, 8), people=People(reply=60),
        allowed="not_loaded", outside_allowed="not_loaded"),
    "350 ms behind an edge": _hostile(
        "slow_path", "", ROOMY, lambda: Distant(0.35, connects_there=False), (1, 4, 8), people=People(reply=60),
        allowed="not_loaded", outside_allowed="not_loaded"),
    "jitter with a long tail": _hostile(
        "", "", ROOMY, lambda: Distant(0.04, connects_there=True, jitter=1.5), (1, 4, 8),
        allowed="not_loaded slow_path", outside_allowed="not_loaded slow_path"),
    "sticky balancer 3:1": _hostile("uneven_balancer batch_limit", "", DEMO, Sticky, (4, 12, 20), engines=2),
    "two engines, evenly": _hostile("batch_limit", "", DEMO, Path, (4, 24, 36), engines=2),
    "four engines, full caches": _hostile(
        "memory_wall", "", replace(WALL, kv_pool_bytes=3e7), Path, (4, 12, 36, 48), engines=4),
    "two engines at their limit": _hostile(
        "ceiling", "throughput_limit", QWEN, Path, (2, 96, 160), people=People(prompt=60), engines=2),
    "one replica slow": _hostile(
        "slow_replica", "", ROOMY, Path, (3, 6, 12), engines=3, slowdowns=_one_slow(3, 2.2),
        allowed="not_loaded", outside_allowed="not_loaded"),
    "cache 60 ms away": _hostile("response_cache", "response_cache", ROOMY, DistantCache, (2, 8, 16)),
    "4 tokens an event, no usage": _hostile(
        "", "", ROOMY, Bundled, (2, 8, 16), allowed="not_loaded", outside_allowed="not_loaded"),
    "buffering proxy": _hostile("buffered_stream", "buffered_stream", ROOMY, lambda: Buffered(first=False), (2, 8, 16)),
    "first token, then all": _hostile(
        "buffered_stream", "buffered_stream", ROOMY, lambda: Buffered(first=True), (2, 8, 16)),
    "429 beyond 8 at once": _hostile("quota", "quota", ROOMY, lambda: Rejecting(places=8), (4, 12, 20)),
    "429 beyond 120 a minute": _hostile("quota", "quota", ROOMY, lambda: Rejecting(per_s=2.0), (2, 8, 16)),
    "autoscaler": _hostile(
        "", "", DEMO, Scaling, (4, 12, 18), engines=3, allowed="not_loaded uneven_balancer",
        outside_allowed="not_loaded"),
    "noisy neighbour": _hostile("other_load", "", DEMO, lambda: Neighbour(6), (1, 4, 8)),
    "neighbour comes late": _hostile(
        "other_load", "", ROOMY, lambda: Neighbour(16, since=50.0), (2, 8, 16),
        outside_allowed="throughput_limit not_loaded"),
    "retrying gateway": _hostile("other_load", "", DEMO, Retrying, (4, 12, 16)),
    "static batches": _hostile("", "", ROOMY, StaticBatches, (4, 12, 20), allowed="gateway"),
    "one replica slow and full": _hostile(
        "slow_replica batch_limit", "", DEMO, Path, (6, 15, 24), engines=3, slowdowns=_one_slow(3, 2.2),
        allowed="uneven_balancer"),
    "one of 5 very slow, sticky": _hostile(
        "slow_replica", "", ROOMY, lambda: InTurn(5), (5, 10, 20), engines=5, slowdowns=_one_slow(5, 14.0),
        allowed="not_loaded", outside_allowed="not_loaded"),
    "three engines at random": _hostile("not_loaded", "not_loaded", ROOMY, lambda: AtRandom(3), (3, 6, 12), engines=3),
    "429 to one in 12, however many ask": _hostile("", "", ROOMY, lambda: Shared(1 / 12), (2, 8, 16)),
    "quota used up": _hostile("quota", "quota", ROOMY, lambda: UsedUp(60), (2, 8, 16)),
    "one replica slow and full, other card": _hostile(
        "slow_replica batch_limit", "", replace(TI, max_num_seqs=5), Path, (4, 8, 14), engines=2,
        slowdowns=_one_slow(2, 1.7), people=People(prompt=100, reply=100), allowed="uneven_balancer"),
    "two engines at random, long prompts": _hostile(
        "prefill_bound", "", QWEN, lambda: AtRandom(2), (2, 6, 12), engines=2, people=People(prompt=3000, reply=20),
        outside_allowed="throughput_limit"),
    "350 ms away for every third user": _hostile(
        "", "", ROOMY, lambda: FarForSome(0.35, 3), (3, 6, 12), allowed="slow_path not_loaded",
        outside_allowed="not_loaded"),
}  # fmt: skip

THOUGHTFUL = People(prompt=300, reply=120, reply_spread=0.4, think=2.0)
HELD_OUT_HOSTILE: dict[str, Hostile] = {
    "gateway, 700 tokens/s, experts": _hostile(
        "gateway", "", MOE, lambda: TokenRate(700), (4, 16, 40), people=People(reply=100),
        outside_allowed="throughput_limit"),
    "gateway, 6 places, people who think": _hostile(
        "gateway", "", TI, lambda: Places(6), (3, 10, 24), people=THOUGHTFUL),
    "proxy, one at a time, other card": _hostile(
        "gateway", "serialised", TI, lambda: Places(1), (1, 6), people=People(prompt=100)),
    "GPU throttles, other card": _hostile(
        "throttling", "", TI, Path, (4, 8, 16), slowdowns=(_throttle(2.0, 150.0),),
        people=People(prompt=100, reply=150), outside_allowed="not_loaded"),
    "180 ms behind an edge": _hostile(
        "slow_path", "", QWEN, lambda: Distant(0.18, connects_there=False), (1, 3, 6),
        people=People(prompt=60, reply=120),
        allowed="not_loaded", outside_allowed="not_loaded"),
    "sticky balancer 3:1, other card": _hostile(
        "uneven_balancer batch_limit", "", replace(TI, max_num_seqs=6), Sticky, (3, 12, 16), engines=2,
        people=People(prompt=100, reply=100)),
    "cache 120 ms away, 25 %": _hostile(
        "response_cache", "response_cache", QWEN, lambda: DistantCache(0.25, 0.12), (1, 4, 8),
        people=People(prompt=100, reply=120)),
    "buffering proxy, other card": _hostile(
        "buffered_stream", "buffered_stream", TI, lambda: Buffered(first=False), (1, 6), people=THOUGHTFUL),
    "429 beyond 3 at once, people who think": _hostile(
        "quota", "quota", TI, lambda: Rejecting(places=3), (2, 8, 16), people=THOUGHTFUL),
    "small neighbour": _hostile(
        "other_load", "", ROOMY, lambda: Neighbour(3), (2, 6, 12), outside_allowed="not_loaded"),
    "one replica slow, other card": _hostile(
        "slow_replica", "", TI, Path, (2, 6, 12), engines=2, slowdowns=_one_slow(2, 1.7),
        people=People(prompt=100, reply=120), allowed="not_loaded", outside_allowed="not_loaded"),
    "five engines at random, people who think": _hostile(
        "", "", TI, lambda: AtRandom(5), (5, 10, 20), engines=5, people=THOUGHTFUL, allowed="not_loaded",
        outside_allowed="not_loaded"),
    "429 to one in 25, however many ask": _hostile(
        "", "", TI, lambda: Shared(0.04), (4, 12, 20), people=THOUGHTFUL, allowed="not_loaded",
        outside_allowed="not_loaded"),
    "quota used up, people who think": _hostile(
        "quota", "quota", TI, lambda: UsedUp(80), (4, 8, 16), people=THOUGHTFUL),
    "two engines, full caches, other card": _hostile(
        "memory_wall", "", replace(TI, kv_pool_bytes=4e8), Path, (2, 12, 30), engines=2,
        people=People(prompt=400, reply=400)),
}  # fmt: skip
"""none of the rules' thresholds were set on these"""
