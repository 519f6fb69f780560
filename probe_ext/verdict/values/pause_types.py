"""Silent pauses of a run and how they coincide with preemptions."""

from dataclasses import dataclass
from typing import Literal

from probe_ext.verdict.values.json_types import Amount, Count, Text

OverlapResult = Literal["more_than_chance", "cannot_tell", "no_sign"]


@dataclass(frozen=True)
class Overlap:
    """How many pauses coincide with something the server did, and how many would by chance."""

    seen: Count
    of: Count
    """pauses compared"""
    chance: Amount
    """mean over random rotations"""
    chance_low: Amount
    """95 % of the rotations lie between `chance_low` and `chance_high`"""
    chance_high: Amount
    result: OverlapResult
    """`more_than_chance` (by at least a fifth of the pauses; wrong in at most 2.5 % of runs without a connection),
    `cannot_tell`, or `no_sign` (by less than a fifth of the pauses, whatever chance did)"""


@dataclass(frozen=True)
class Pauses:
    """The silent pauses of the whole run. Overlap with server events is no proof of a cause."""

    threshold: Amount
    """seconds from which a gap is a silent pause"""
    count: Count
    replies: Count
    """replies with at least one pause"""
    seconds: Amount
    """total length of all pauses"""
    longest: Amount | None
    clients_cut: Count
    """pauses of 30 s or more, at which an ordinary client would have timed out"""
    watched: Count
    """pauses during which the preemption counter was read throughout"""
    preemptions: Count | None
    """preemptions of the whole run; null where the server does not report them"""
    meets_preemption: Count | None
    """watched pauses that overlap a rise of the preemption counter"""
    ends_with_preemption: Overlap | None
    """watched pauses that end in such a rise, compared with chance"""
    starts_as_queue_grows: Count | None
    """watched pauses that start while the server's queue grows"""
    kv_usage_p50: Amount | None
    """median over the pauses of the peak KV-cache usage during each"""
    waiting_p50: Amount | None
    """median over the pauses of the most requests waiting during each"""
    sentence: Text
