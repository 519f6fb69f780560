"""Does the server count tokens, and is its count true: against the events that arrived, and its own tokenizer?"""

from collections.abc import Callable

from probe_ext.access.sender import Answered
from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.inspection.subject import Subject
from probe_ext.measure.safe_text import safe_text
from probe_ext.target.token_count import Tokenizer, find
from probe_ext.verdict.phrasing.plurals import things

_TOLERANCE = 0.15
_TOLERANCE_TOKENS = 3
"""special tokens, and texts that are tokenized differently from how they were generated"""
UNDECODABLE = "\N{REPLACEMENT CHARACTER}"
"""stands for bytes that are no text, which a tokenizer counts differently"""
_NO_COUNT = "--usage none counts events instead"


def usage(subject: Subject) -> CheckResult:
    """Judge the counts of the samples."""
    answered = [reply for reply in subject.answers if reply.text or reply.reasoning]
    if not answered:
        return CheckResult("usage", Status.UNKNOWN, "No reply to judge.")
    reply = max(answered, key=lambda each: len(each.text) + len(each.reasoning))
    if reply.tokens_from != "usage":
        return _uncounted(reply)
    tokenizer = find(subject.server.url, subject.server.model or "", subject.fetcher)
    return _compared(reply, tokens_of_text(reply.text, tokenizer) if not reply.reasoning else None)


def _uncounted(reply: Answered) -> CheckResult:
    said = f" ({safe_text(reply.message)})" if reply.message else ""
    figures = {"events": len(reply.at), "source": reply.tokens_from}
    if reply.message and "usage" in reply.message:
        wrong = f"The server's usage is not plausible{said}: events are counted instead."
        return CheckResult(
            "usage", Status.PROBLEM, wrong, "Fix the usage that the server or the gateway reports.", figures
        )
    evidence = f"The server sends no usage{said}: events are counted, which is wrong where one holds several tokens, "
    evidence += "and prompt tokens are not known."
    advice = "Let the server send `usage` in streams (`stream_options.include_usage`)."
    return CheckResult("usage", Status.WARN, evidence, advice, figures)


def tokens_of_text(text: str, tokenizer: Tokenizer | None) -> int | None:
    """Count a reply's text with the server's tokenizer, without the tokens that it adds to any text."""
    if tokenizer is None or not text:
        return None
    count: Callable[[str], int | None] = tokenizer.text
    whole, twice = count(text), count(f"{text} {text}")
    if whole is None or twice is None:
        return None
    return max(1, twice - whole)  # special tokens are in both


def _compared(reply: Answered, counted: int | None) -> CheckResult:
    reported, events = reply.tokens_out or 0, len(reply.at)
    figures = {"usage": reported, "events": events, "tokenizer": counted, "prompt_tokens": reply.tokens_in}
    cached, tokens = _cached(reply), things(reported, "token")
    if counted is not None and abs(reported - counted) <= max(_TOLERANCE * counted, _TOLERANCE_TOKENS):
        evidence = f"Usage is correct: {tokens}, and the server's tokenizer counts {counted} in the same text "
        evidence += f"({things(events, 'event')}). {cached}"
        return CheckResult("usage", Status.OK, evidence, None, figures)
    if abs(reported - events) <= max(_TOLERANCE * events, _TOLERANCE_TOKENS):
        evidence = f"Usage says {tokens}, and {things(events, 'token event')} arrived. {cached}"
        return CheckResult("usage", Status.OK, evidence, None, figures)
    if counted is not None and UNDECODABLE not in reply.text:
        evidence = f"Usage says {tokens}; the server's own tokenizer counts {counted} in the same text"
        evidence += f", which came in {things(events, 'event')}."
        advice = f"Fix the usage that the server or the gateway reports; until then, {_NO_COUNT}."
        return CheckResult("usage", Status.PROBLEM, evidence, advice, figures)
    evidence = f"Usage says {tokens}, {things(events, 'token event')} arrived, and no tokenizer settles it: "
    evidence += "either events hold several tokens, or the count is wrong."
    return CheckResult("usage", Status.UNKNOWN, evidence, None, figures)


def _cached(reply: Answered) -> str:
    if reply.tokens_cached is not None:
        return "Cached tokens are reported, too."
    return "Cached tokens are not reported (vLLM: `--enable-prompt-tokens-details`)."
