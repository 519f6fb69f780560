"""What is known of the silent pauses of a run, as values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Overlap:
    """How many spans of time meet a bracket of another series, and how many would by chance (see `overlap`)."""

    seen: int
    chance: float
    """mean over random rotations"""
    chance_low: float
    """95 % of the rotations lie between"""
    chance_high: float

    @property
    def beyond(self) -> bool:
        """Whether it is more than chance explains."""
        return self.seen > self.chance_high


@dataclass(frozen=True)
class Pauses:
    """The silent pauses of the whole run, and what the server's samples show of them (see `pauses`)."""

    threshold: float
    """seconds"""
    count: int
    replies: int
    """with at least one"""
    seconds: float
    """all together"""
    longest: float | None
    clients_cut: int
    """of 30 s or more: an ordinary client would have given up"""
    watched: int
    """during which the preemption counter was read throughout"""
    preemptions: int | None
    """counted in the whole run; None where the server does not tell"""
    meets_preemption: Overlap | None
    ends_with_preemption: Overlap | None
    starts_as_queue_grows: Overlap | None
    kv_usage_p50: float | None
    """over the pauses: the highest use of the KV cache during each"""
    waiting_p50: float | None
    says: str
