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
==================  ==================================================================================
"""

from dataclasses import dataclass, replace
from typing import Any

from probe_ext.sim.profile import Profile

CHUNKY_INTERVAL = 4


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

    def applied(self, profile: Profile) -> Profile:
        """Return the profile with this personality's changes."""
        return replace(profile, max_num_seqs=1, prefix_caching=False) if self.sequential else profile


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
}


def personality_names() -> list[str]:
    """Return the names that :func:`parse_personality` accepts."""
    return list(_PERSONALITIES)


def parse_personality(text: str) -> Personality:
    """Parse names joined by commas. Raises :class:`PersonalityError`."""
    changes: dict[str, Any] = {}
    for name in text.split(","):
        if name not in _PERSONALITIES:
            raise PersonalityError(f"personality: {name!r} is not one of {', '.join(_PERSONALITIES)}")
        changes |= _PERSONALITIES[name]
    return Personality(**changes)
