"""What is said of a trace before it is replayed."""

from probe_ext.verdict.phrasing.formats import percent, span
from probe_ext.verdict.phrasing.plurals import is_or_are, listed, things
from probe_ext.workload.traces.trace_facts import TraceFacts


def trace_notes(facts: TraceFacts) -> tuple[str, ...]:
    """Return in one line each what is replayed, what its prompts share, and what is left out."""
    sessions = f" of {things(facts.sessions, 'session')}" if facts.sessions < facts.requests else ""
    recorded = f" over {span(facts.seconds)}" if facts.seconds else ""
    shared = f"{percent(facts.shared_share)} of the prompts' tokens were in earlier prompts as well"
    if not facts.shared_tokens:
        shared = "its prompts share nothing"
    notes = [f"trace: {things(facts.requests, 'request')}{sessions}{recorded}; {shared}"]
    for one in facts.passes:
        if one["requests"] < facts.requests:
            missing = facts.requests - int(one["requests"])
            notes.append(
                f"trace: at speed {one['speed']:g}, {things(missing, 'later turn')} would be due after the "
                f"{span(one['seconds'])} that it lasts, and {is_or_are(missing)} not sent"
            )
    if facts.left_out:
        reasons = [f"{number:,} {reason}" for reason, number in facts.left_out.items()]
        notes.append(f"trace: left out: {listed(reasons)}")
    return tuple(notes)
