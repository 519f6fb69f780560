"""One judged level, as a value: who was served, what its replies looked like, what the server said meanwhile."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["held", "failed", "unproven"]


@dataclass(frozen=True)
class ReplyFigures:
    """What a level's replies looked like from the outside."""

    ttft_p50: float | None = None
    """seconds from `sent` to the first token event, of replies that had one"""
    ttft_p95: float | None = None
    ttft_p99: float | None = None
    ttft_visible_p95: float | None = None
    """the same to the first token outside reasoning"""
    first_word_p50: float | None = None
    """seconds that users waited for a first word, as the profile counts it"""
    first_word_p95: float | None = None
    decode_rate_p50: float | None = None
    """tokens a second of one reply, 1/TPOT, of replies that have a typing speed"""
    decode_rate_p05: float | None = None
    longest_gap_p95: float | None = None
    """seconds; over the replies' longest gaps"""
    longest_gap_max: float | None = None
    tokens_out_p50: float | None = None
    total_tokens_per_s: float | None = None
    """tokens whose event fell in the measured part, over its length"""
    slo_attainment: float | None = None
    """served of judged replies, failures in the denominator (DistServe, OSDI 2024)"""
    goodput_rps: float | None = None
    """served replies sent in the measured part, over its length (DistServe; `--goodput` of vLLM's benchmark)"""
    fluidity_index: float | None = None
    """met part of all tokens' deadlines (Etalon, arXiv:2407.07000; `measure.deadlines`), by the run's own profile"""
    fluid_share: float | None = None
    """part of the replies with deadlines whose own index is at least FLUID"""


@dataclass(frozen=True)
class ServerFigures:
    """What the server said of itself in a level's measured part."""

    kv_usage_max: float | None = None
    """fraction of the KV cache, of the fullest engine"""
    preemptions: int | None = None
    """charged to where the server's queue grew (see `evictions`)"""
    preemptions_unsure: int | None = None
    """of them, those whose beginning or end may lie outside the level"""
    waiting_max: float | None = None
    running_max: float | None = None


@dataclass(frozen=True)
class LevelResult:
    """One level, or one band of a climb."""

    users: int
    users_low: int
    users_high: int
    band: bool
    t_start: float
    t_end: float
    state: State
    appears: State
    """what the state would be if a band could prove anything; else the same as `state`"""
    why: tuple[str, ...]
    """dimensions that cost people here, the worst first; empty where everybody is served"""
    served_share: float | None
    served_share_low: float | None
    served_share_high: float | None
    served_share_fit: float | None
    """by a fit that never rises with the users"""
    users_served: int
    users_strained: int
    users_broken: int
    users_undecided: int
    users_unheard: int
    replies: int
    """sent in the measured part"""
    replies_served: int
    replies_strained: int
    replies_broken: int
    replies_open: int
    """ended by us, or by our fault, before anything was decided"""
    replies_needed: int | None
    """about how many more would settle an unproven level"""
    outcomes: dict[str, int] = field(default_factory=dict)
    figures: ReplyFigures = ReplyFigures()
    server: ServerFigures = ServerFigures()

    def to_json(self) -> dict[str, Any]:
        """Flat, as in `capacity.json`."""
        flat = {key: value for key, value in asdict(self).items() if key not in {"figures", "server"}}
        return {**flat, **asdict(self.figures), **asdict(self.server)}
