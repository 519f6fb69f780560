"""The virtual servers and people that are studied. Each has a boundary of its own kind, sharp or soft."""

from dataclasses import dataclass, replace

from probe_ext.sim.personality import Personality
from probe_ext.sim.profile import Profile, load_profile
from scripts.study.virtual.people import People


@dataclass(frozen=True)
class Case:
    """A server, who asks it, and the levels of a fixed sweep that somebody would try."""

    name: str
    what: str
    profile: Profile
    people: People
    sweep: tuple[int, ...]
    soft: bool = False
    """whether it is studied with levels too short for comfort as well"""
    held_out: bool = False
    """never looked at while the verdict and the search were made"""
    hold: float = 30.0
    """seconds for which a sweep measures each level"""


def cases() -> list[Case]:
    """All of them."""
    demo = load_profile("demo")
    one = Personality(sequential=True).applied(demo)
    pensive = People(reply_spread=0.6, prompt_spread=0.5, think=5.0)
    roomy = replace(demo, max_num_seqs=40, kv_pool_bytes=6.75e8, sequence_overhead_s=0.0005)
    card = load_profile("rtx3060-qwen2.5-7b-awq")
    readers = People(prompt=300, reply=150, reply_spread=0.5)
    other = replace(load_profile("rtx5060ti-qwen2.5-7b-awq"), max_num_seqs=6)
    pasting = People(prompt=500, prompt_spread=0.4, reply=60, reply_spread=0.5, think=5.0)
    return [
        Case("one at a time", "answers of 120 tokens, one after another", one, People(reply=120), (1, 2, 3, 4)),
        Case("batch limit", "8 at once, the ninth waits", demo, People(), (4, 7, 8, 9, 10, 11)),
        Case("people who think", "8 at once, answers of all lengths, 5 s to think", demo, pensive,
             (8, 14, 16, 18, 20, 22, 24), soft=True),
        Case("memory wall", "the KV cache fills up, replies are preempted", load_profile("demo-wall"),
             People(reply=100, reply_spread=0.4), (4, 8, 9, 10, 11, 12, 13), soft=True),
        Case("typing speed", "a card that types ever slower; replies of 5 to 15 s", card, readers,
             (32, 36, 40, 44, 48)),
        Case("larger batch", "40 at once", roomy, People(reply_spread=0.3), (40, 44, 46, 48)),
        Case("another card", "6 at once, answers of all lengths, 2 s to think", other,
             People(prompt=100, reply_spread=0.5, think=2.0), (8, 12, 14, 16, 18, 20, 24), held_out=True),
        Case("long prompts", "prompts of all lengths, read one after another; 5 s to think", card, pasting,
             (4, 8, 10, 12, 14, 16, 20), held_out=True),
    ]  # fmt: skip
