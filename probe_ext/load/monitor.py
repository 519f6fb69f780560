"""What a load plan reads of the run so far: its replies, and what they say of capacity. Others implement it."""

from collections.abc import Sequence
from typing import Literal, Protocol

State = Literal["held", "failed", "unproven"]
Interval = tuple[int, int | None]


class LevelView(Protocol):
    """What a plan reads of one level's estimate."""

    @property
    def state(self) -> State: ...
    @property
    def share_fit(self) -> float: ...
    @property
    def seconds_needed(self) -> float | None: ...
    @property
    def reasons(self) -> Sequence[str]: ...


class EstimateView(Protocol):
    """What a plan reads of an estimate of capacity."""

    @property
    def estimate(self) -> float | None: ...
    @property
    def interval(self) -> Interval | None: ...
    @property
    def bracket(self) -> tuple[int | None, int | None]: ...
    def level(self, users: int) -> LevelView | None: ...


class Monitor(Protocol):
    """The replies of the run so far."""

    @property
    def needed_share(self) -> float:
        """The served share at which a level holds."""

    def reply_cycle(self) -> float:
        """Seconds from one request of a user to the next, of late; 0 while unknown."""

    def users_with_enough_replies(self, since: float) -> int:
        """Users with as many completed replies, sent since then, as the plan asks for."""

    def users_replied(self, since: float) -> int:
        """Users with a reply that ended since then."""

    def is_backed_up(self, level: int) -> bool:
        """Whether far more requests of an open stream are in flight than in an earlier visit to this rate."""

    def begin_visit(self, now: float, users: int) -> None:
        """From now on, replies count for a level of so many users."""

    def end_visit(self, now: float, *, more_users: bool) -> None:
        """They no longer do; replies in flight are judged as they stand if more users come."""

    def visit_counts(self, now: float) -> tuple[int, int]:
        """Served and judged replies of the present visit."""

    def early_counts(self, now: float, since: float) -> tuple[int, int] | None:
        """Replies that do well so far and all that can be judged, ended or not; None if unknown.

        Those sent since then count by all they have shown, older ones by what they show now.
        """

    def has_other_load(self, now: float) -> bool:
        """Whether the server does too much for others to judge the present visit, or the latest that is known."""

    def estimate(self, now: float) -> EstimateView:
        """The estimate from all visits so far."""
