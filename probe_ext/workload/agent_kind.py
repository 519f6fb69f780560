"""Kinds of user that are agents: programs that call tools, and send what the tools return with all that was before."""

from typing import Self

from pydantic import Field, model_validator

from probe_ext.workload.distribution_forms import Constant
from probe_ext.workload.section import MAX_TOKENS, Pause, Section, Tokens, Turns

MAX_SUBAGENTS = 64


class Compaction(Section):
    """When an agent has its context summarised, and goes on with the summary."""

    at: int = Field(ge=1, le=MAX_TOKENS)
    """tokens of a context, last reply included, that are too many to go on with"""
    to: int = Field(ge=1, le=MAX_TOKENS)
    """tokens of the context that is left, system prompt and summary included"""
    summary_tokens: Tokens = Constant(1000)
    """upper bound of the reply that summarises the context; it is sent with the whole of it"""

    @model_validator(mode="after")
    def _shrinks(self) -> Self:
        if self.to >= self.at:
            raise ValueError(f"to: {self.to:,}: must be fewer tokens than at ({self.at:,})")
        return self


class Subagents(Section):
    """Agents that an agent starts side by side instead of calling a tool; it waits until all have ended."""

    share: float = Field(gt=0, le=1)
    """of the calls of tools"""
    count: Turns = Constant(2)
    """how many are started together"""
    turns: Turns = Constant(4)
    """requests of each"""
    prompt_tokens: Tokens = Constant(400)
    """of the task that each is given"""

    @model_validator(mode="after")
    def _are_not_too_many(self) -> Self:
        if self.count.quantile(1.0) > MAX_SUBAGENTS:
            raise ValueError(f"count: {self.count.quantile(1.0):,.0f}: at most {MAX_SUBAGENTS} at a time; give a max")
        return self


class Agent(Section):
    """What an agent does between its requests."""

    tool_time: Pause = Constant(1)
    """seconds between a reply that calls a tool and the request with its result"""
    result_tokens: Tokens = Constant(500)
    """of a tool's result"""
    compact: Compaction | None = None
    """None: a session ends when the model's context is full"""
    subagents: Subagents | None = None
