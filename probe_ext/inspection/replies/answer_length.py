"""Are replies as long as asked for, or does something cut them?

Replies of a model that answers briefly look cut. They are a problem only where the server contradicts that: it says
that they reached their limit (`length`) before they did, or it is known to read the request not to stop before
(`ignore_eos`).
"""

from collections.abc import Callable, Sequence

from probe_ext.access.sender import Answered
from probe_ext.inspection.check_result import CheckResult, Figures, Status
from probe_ext.inspection.subject import Subject
from probe_ext.verdict.grading.held_back import MIN_STREAM_TOKENS
from probe_ext.verdict.phrasing.plurals import things

_COUNTED = frozenset({"usage", "token_ids"})
_MAX_CUT_TOKENS = 4
_MIN_ASKED = 16
_FULL_SHARE = 0.8
"""of the tokens asked for, below which a reply did not reach its limit"""
_WHERE = "Look for a limit or a filter in the server or the gateway; a run would measure replies that nobody reads."


def answer_length(subject: Subject, obeys: Callable[[], bool | None]) -> CheckResult:
    """Compare the samples' length with what was asked for; `obeys`: whether the engine reads `ignore_eos`."""
    exact = bool(subject.server.exact_length)
    return judged_lengths(subject.answers, subject.sample_tokens, lambda: exact and bool(obeys()))


def judged_lengths(replies: Sequence[Answered], asked: int, told_not_to_stop: Callable[[], bool]) -> CheckResult:
    """Judge replies that were asked for with so many tokens each."""
    if not replies:
        return CheckResult("answer_length", Status.UNKNOWN, "No reply to judge.")
    # Wrong usage is a finding of its own, and events may hold several tokens.
    lengths = [max(reply.tokens_out or 0, len(reply.at)) for reply in replies]
    shortest, longest = min(lengths), max(lengths)
    figures: Figures = {"asked": asked, "shortest": shortest, "longest": longest}
    few = f"{shortest} to {longest}" if shortest < longest else f"{longest}"
    all_replies = f"{things(len(replies), 'reply', 'replies')} had {few} of {things(asked, 'token')} asked for"
    counted = all(reply.tokens_from in _COUNTED for reply in replies)
    if asked >= _MIN_ASKED and counted and longest < _FULL_SHARE * asked:
        if all(reply.finish_reason == "length" for reply in replies):
            evidence = f"{all_replies}, and the server says that they reached their limit: something lowers it."
            return CheckResult("answer_length", Status.PROBLEM, evidence, _WHERE, figures)
        if longest <= _MAX_CUT_TOKENS and told_not_to_stop():
            evidence = f"{all_replies}, although the request set ignore_eos, which this engine obeys: "
            evidence += "replies are cut."
            return CheckResult("answer_length", Status.PROBLEM, evidence, _WHERE, figures)
    if counted and longest < MIN_STREAM_TOKENS <= asked:
        evidence = f"{all_replies}: the model answers briefly, or something cuts its replies. "
        evidence += f"Typing speed is not judged below {MIN_STREAM_TOKENS} tokens."
        advice = "Ask for longer answers (--input-tokens, --ignore-eos), or look for a limit in the gateway."
        return CheckResult("answer_length", Status.WARN, evidence, advice, figures)
    if not counted and longest < asked:
        events = "event" if longest == 1 else "events"
        evidence = (
            f"{things(len(replies), 'reply', 'replies')} came in {few} {events}; the server does not count tokens."
        )
        return CheckResult("answer_length", Status.UNKNOWN, evidence, None, figures)
    return CheckResult("answer_length", Status.OK, f"{all_replies}.", None, figures)
