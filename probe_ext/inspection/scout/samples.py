"""One reply of a scout's probe, as the tests for cheats see it. Plain values, so that they can be simulated."""

from dataclasses import dataclass

from probe_ext.access.sender import Answered
from probe_ext.measure.outcome import Outcome

COUNTED = frozenset({"usage", "token_ids"})


@dataclass(frozen=True, slots=True)
class Sample:
    """One reply. Seconds; None: not known."""

    ok: bool
    """whether the server ended it, with text"""
    asked: int
    """`max_tokens`"""
    tokens: int | None
    """as the server counts them; None where it does not, because an event may hold several"""
    text: str
    """all text, reasoning included"""
    finish: str | None
    whole: float | None
    """from sending to the end"""
    ttft: float | None
    span: float | None
    """from the first token event to the last; None if the reply was not streamed"""
    message: str | None = None
    """why it failed"""

    @property
    def per_token(self) -> float | None:
        """Seconds per token after the first, as they arrived."""
        if self.span is None or self.tokens is None or self.tokens < 2:
            return None
        return self.span / (self.tokens - 1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A new prompt and one that was asked before, one after the other in either order."""

    fresh: Sample
    repeat: Sample
    fresh_generated: float | None = None
    """tokens that the engine's own counter grew by during the first reply; None: no counter"""
    repeat_generated: float | None = None


def sample_of(reply: Answered, asked: int) -> Sample:
    """Return what a reply tells."""
    return Sample(
        ok=reply.outcome is Outcome.COMPLETE,
        asked=asked,
        tokens=reply.tokens_out if reply.tokens_from in COUNTED else None,
        text=reply.text + reply.reasoning,
        finish=reply.finish_reason,
        whole=reply.seconds,
        ttft=reply.ttft,
        span=reply.at[-1] - reply.at[0] if reply.streamed and reply.at else None,
        message=reply.message or (None if reply.ok else str(reply.outcome)),
    )
