"""Personalities: servers that behave unlike a plain vLLM, by name; several joined by commas.

==================  ==================================================================================
``vllm``            continuous batching, one token an event (the default)
``sequential``      one request at a time, as Ollama or llama.cpp with one slot
``response-cache``  a proxy in front answers identical bodies from memory
``first-token``     every answer is cut to its first token
``chunky``          four tokens an event (vLLM's ``--stream-interval 4``)
``held-back``       3 % of the events are empty, their text comes with the next (as byte-level tokenizers do)
``early-role``      the role-only chunk is sent at once, not with the first token
``cold-start``      the first step at each batch size pays the profile's ``warmup_s``
``no-details``      usage without ``prompt_tokens_details`` (vLLM's own default)
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
    """The switches. ``stream_interval`` is in tokens an event."""

    sequential: bool = False
    response_cache: bool = False
    first_token: bool = False
    stream_interval: int = 1
    held_back: bool = False
    early_role: bool = False
    cold: bool = False
    details: bool = True

    def applied(self, profile: Profile) -> Profile:
        """The profile as this personality runs it."""
        return replace(profile, max_num_seqs=1, prefix_caching=False) if self.sequential else profile


_SWITCHES: dict[str, dict[str, Any]] = {
    "vllm": {},
    "sequential": {"sequential": True},
    "response-cache": {"response_cache": True},
    "first-token": {"first_token": True},
    "chunky": {"stream_interval": CHUNKY_INTERVAL},
    "held-back": {"held_back": True},
    "early-role": {"early_role": True},
    "cold-start": {"cold": True},
    "no-details": {"details": False},
}


def personality_names() -> list[str]:
    """The names that :func:`parse_personality` knows."""
    return list(_SWITCHES)


def parse_personality(text: str) -> Personality:
    """Read names joined by commas. Raises :class:`PersonalityError`."""
    switches: dict[str, Any] = {}
    for name in text.split(","):
        if name not in _SWITCHES:
            raise PersonalityError(f"personality: {name!r} is none of {', '.join(_SWITCHES)}")
        switches |= _SWITCHES[name]
    return Personality(**switches)
