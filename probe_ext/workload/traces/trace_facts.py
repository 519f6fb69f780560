"""What is known of a trace before it is replayed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from probe_ext.workload.traces.replay_times import Pass
from probe_ext.workload.traces.sharing import shared_tokens
from probe_ext.workload.traces.trace import Trace


@dataclass(frozen=True)
class TraceFacts:
    """A trace, or the part of it that is replayed. Seconds, tokens."""

    form: str
    sha256: str
    requests: int
    sessions: int
    seconds: float
    """from the first request to the last, and the mean time between two"""
    input_tokens: int
    """of all prompts"""
    shared_tokens: int
    """of these, at the start of prompts, what earlier requests began with, too"""
    output_tokens: int
    left_out: Mapping[str, int]
    """requests that are not replayed, by the reason"""
    passes: Sequence[Mapping[str, float]]
    """of a replay at recorded times: speed, seconds and requests of each pass"""

    @property
    def shared_share(self) -> float:
        """Share of the prompts' tokens that a prefix cache which forgets nothing would have found."""
        return self.shared_tokens / self.input_tokens

    def as_json(self) -> dict[str, Any]:
        """Return what `run.json` records."""
        return asdict(self)


def facts_of(trace: Trace, passes: Sequence[Pass] = ()) -> TraceFacts:
    """Return what is known of a trace."""
    return TraceFacts(
        form=trace.form,
        sha256=trace.digest,
        requests=len(trace.requests),
        sessions=len(trace.sessions),
        seconds=trace.seconds,
        input_tokens=sum(one.tokens_in for one in trace.requests),
        shared_tokens=sum(shared_tokens(trace.requests, trace.block_tokens)),
        output_tokens=sum(one.tokens_out for one in trace.requests),
        left_out=dict(trace.left_out),
        passes=[{"speed": one.speed, "seconds": one.seconds, "requests": len(one.schedule)} for one in passes],
    )
