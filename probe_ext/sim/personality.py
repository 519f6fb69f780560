"""Personalities: named deviations from a plain vLLM; join several with commas.

==================  ==================================================================================
``vllm``            continuous batching, one token per event (the default)
``sequential``      one request at a time, like Ollama, or llama.cpp with one slot
``response-cache``  a caching proxy answers repeated identical requests
``first-token``     every reply ends after its first token
``chunky``          four tokens per event (vLLM's ``--stream-interval 4``)
``held-back``       3 % of events are empty; their text comes with the next (as with byte-level tokenizers)
``early-role``      the role-only event is sent immediately, not with the first token
``cold-start``      the first step at each batch size takes ``warmup_s`` (see the profile) longer
``hot-gpu``         badly cooled: above 83 °C the card lowers its clock, and every step takes longer
``no-details``      usage without ``prompt_tokens_details`` (vLLM's default)
``no-cancel``       goes on generating when the client hangs up
``lumps``           a proxy holds bytes back: 16 events leave together
``unstreamed``      requests for streams get one JSON document
``no-prefix-cache`` every prompt is computed in full
``wrong-usage``     usage counts twice the tokens
``no-usage``        streams without usage
``small-context``   a context of 256 tokens
``few-files``       at most 64 open files (a process of its own only)
``replicas``        reads of /metrics alternate between two servers
``wrong-clock``     the ``Date`` of responses is an hour ahead
``no-keep-alive``   every response closes its connection
``reasoning``       a third of each chat reply is reasoning, in a field of its own
``long-reasoning``  the first 400 tokens of each chat reply are
``think-tags``      as ``reasoning``, between ``<think>`` tags of the text: no parser
``tools``           tool calls are streamed as they are generated
``held-tools``      a tool call's arguments are held back until they are complete
``text-tools``      a tool call arrives as text: no parser
``no-tools``        requests with tools are refused
``request-times``   each reply has the server's own times (vLLM's ``--enable-per-request-metrics``)
``duplicates``      a gateway in front sends every request twice
``far``             a gateway in front takes 0.2 s to pass a request on
==================  ==================================================================================
"""

from dataclasses import dataclass, replace
from typing import Any

from probe_ext.closest_name import did_you_mean
from probe_ext.sim.profile import Profile

CHUNKY_INTERVAL = 4
LUMP_EVENTS = 16
SMALL_CONTEXT_TOKENS = 256
FEW_FILES = 64
WRONG_CLOCK_S = 3600
LONG_REASONING_TOKENS = 400
FAR_S = 0.2


class PersonalityError(ValueError):
    """An unknown personality; the message is one line."""


@dataclass(frozen=True, slots=True)
class Personality:
    """What differs from a plain vLLM. ``stream_interval`` is in tokens per event."""

    sequential: bool = False
    response_cache: bool = False
    first_token: bool = False
    stream_interval: int = 1
    held_back: bool = False
    early_role: bool = False
    cold: bool = False
    details: bool = True
    hot_gpu: bool = False
    cancels: bool = True
    lump_events: int = 1
    streams: bool = True
    prefix_caching: bool = True
    usage_factor: int = 1
    """0: no usage in streams"""
    context: int | None = None
    open_files: int | None = None
    replicas: bool = False
    clock_ahead_s: int = 0
    keep_alive: bool = True
    reasoning: str = ""
    """``third`` or ``long``; empty: none"""
    think_tags: bool = False
    tools: str = ""
    """``streamed``, ``held``, ``text`` or ``refused``; empty: ignored"""
    request_times: bool = False
    duplicates: bool = False
    pass_on_s: float = 0.0
    """time before the server gets a request"""

    def applied(self, profile: Profile) -> Profile:
        """Return the profile with this personality's changes."""
        if self.sequential:
            profile = replace(profile, max_num_seqs=1, prefix_caching=False)
        if self.context is not None:
            profile = replace(profile, max_model_len=min(profile.max_model_len, self.context))
        return profile if self.prefix_caching else replace(profile, prefix_caching=False)


_PERSONALITIES: dict[str, dict[str, Any]] = {
    "vllm": {},
    "sequential": {"sequential": True},
    "response-cache": {"response_cache": True},
    "first-token": {"first_token": True},
    "chunky": {"stream_interval": CHUNKY_INTERVAL},
    "held-back": {"held_back": True},
    "early-role": {"early_role": True},
    "cold-start": {"cold": True},
    "hot-gpu": {"hot_gpu": True},
    "no-details": {"details": False},
    "no-cancel": {"cancels": False},
    "lumps": {"lump_events": LUMP_EVENTS},
    "unstreamed": {"streams": False},
    "no-prefix-cache": {"prefix_caching": False},
    "wrong-usage": {"usage_factor": 2},
    "no-usage": {"usage_factor": 0},
    "small-context": {"context": SMALL_CONTEXT_TOKENS},
    "few-files": {"open_files": FEW_FILES},
    "replicas": {"replicas": True},
    "wrong-clock": {"clock_ahead_s": WRONG_CLOCK_S},
    "no-keep-alive": {"keep_alive": False},
    "reasoning": {"reasoning": "third"},
    "long-reasoning": {"reasoning": "long"},
    "think-tags": {"reasoning": "third", "think_tags": True},
    "tools": {"tools": "streamed"},
    "held-tools": {"tools": "held"},
    "text-tools": {"tools": "text"},
    "no-tools": {"tools": "refused"},
    "request-times": {"request_times": True},
    "duplicates": {"duplicates": True},
    "far": {"pass_on_s": FAR_S},
}


def personality_names() -> list[str]:
    """Return the names that :func:`parse_personality` accepts."""
    return list(_PERSONALITIES)


def parse_personality(text: str) -> Personality:
    """Parse names joined by commas. Raises :class:`PersonalityError`."""
    changes: dict[str, Any] = {}
    for name in text.split(","):
        if name not in _PERSONALITIES:
            closest = did_you_mean(name, _PERSONALITIES)
            raise PersonalityError(f"personality: {name!r} is not one of {', '.join(_PERSONALITIES)}{closest}")
        changes |= _PERSONALITIES[name]
    return Personality(**changes)
