"""Rounds of requests sent at once, for whoever warms a server up: `probe warmup`, and the preparation of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from probe_ext.access.sender import Answered, Question, Sender, is_answered
from probe_ext.measure import clock
from probe_ext.verdict.phrasing.plurals import things


@dataclass(frozen=True)
class Round:
    """Requests sent at once, and what they took in seconds."""

    requests: int
    seconds: float
    slowest_reply: float
    failed: int
    replies: tuple[Answered, ...] = ()

    @property
    def first_token(self) -> float | None:
        """Median time to first token; of replies that are not streamed, the time of the whole reply."""
        times = [reply.ttft or reply.seconds for reply in self.replies if is_answered(reply)]
        known = [time for time in times if time is not None]
        return median(known) if known else None


def round_in_words(requests: int, largest: int) -> str:
    """Return `4 requests at once, then more, up to 32`; of the last round, `32 requests at once`."""
    rest = f", then more, up to {largest}" if requests < largest else ""
    return f"{things(requests, 'request')} at once{rest}"


def round_sizes(largest: int) -> list[int]:
    """Return 1, 2, 4, … and `largest` itself."""
    steps = [1 << power for power in range(max(0, largest).bit_length()) if 1 << power < largest]
    return [*steps, largest] if largest > 0 else []


def send_round(sender: Sender, questions: Sequence[Question], seconds: float | None = None) -> Round:
    """Send all questions at once, each on a new connection; `seconds`: give up what is not answered by then."""
    began = clock.monotonic()
    replies = sender.send(questions, len(questions), fresh=True, seconds=seconds)
    return Round(
        requests=len(questions),
        seconds=clock.monotonic() - began,
        slowest_reply=max((reply.end for reply in replies), default=began) - began,
        failed=len(questions) - sum(is_answered(reply) for reply in replies),
        replies=tuple(replies),
    )
