"""What was replayed of a trace, and how it fared."""

from dataclasses import dataclass

from probe_ext.verdict.values.json_types import Amount, Count, Fraction, Text


@dataclass(frozen=True)
class TraceReplay:
    """A trace that was replayed. Null where something is not known, or does not apply."""

    form: Text
    """`mooncake`, `burstgpt` or `tap`"""
    requests: Count
    """of the trace, or the part that was replayed, without those that were left out"""
    sessions: Count
    seconds: Amount
    """from its first request to its last, and the mean time between two"""
    left_out: Count
    """requests that could not be replayed: too long for the context, without a prompt, or without a reply"""
    speeds: tuple[Amount, ...]
    """of the passes; empty where users took its sessions in turn"""
    replayed: Count
    """rows of the run, those that were not sent included"""
    not_sent: Count
    shared_meant: Fraction | None
    """of all tokens of the prompts that were sent, those with which earlier prompts of the trace began, too"""
    shared_found: Fraction | None
    """of the same tokens, those that the server found in its prefix cache"""
    behind_median: Amount | None
    """seconds by which requests were sent later than recorded"""
    behind_p95: Amount | None
    behind_max: Amount | None
    generator_late_max: Amount | None
    """the part of the worst that the load generator itself caused"""
    sentence: Text
