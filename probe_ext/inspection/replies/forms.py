"""In which form do tool calls and reasoning arrive?"""

import re
from collections.abc import Mapping
from typing import Any

from probe_ext.access.sender import Answered, Question
from probe_ext.inspection.check_result import CheckResult, Figures, Status
from probe_ext.inspection.subject import Subject
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.safe_text import safe_text
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things

_TOOL = "set_colour"
_TOOL_FIELDS: Mapping[str, Any] = {
    "tools": [
        {
            "type": "function",
            "function": {
                "name": _TOOL,
                "description": "Set the colour of a lamp.",
                "parameters": {
                    "type": "object",
                    "properties": {"colour": {"type": "string", "enum": ["red", "green", "blue"]}},
                    "required": ["colour"],
                },
            },
        }
    ],
    "tool_choice": {"type": "function", "function": {"name": _TOOL}},
}
_TOOL_TOKENS = 128
_MESSAGES = ({"role": "user", "content": "Make the lamp green."},)
_REFUSED = {Outcome.HTTP_ERROR, Outcome.STREAM_ERROR}
_CALLED = {"tool_calls", "function_call", "tool_use"}
_HELD_BACK_TOKENS = 8
"""tokens of one event from which a parser seems to hold arguments back"""
_HELD_BACK_FACTOR = 3.0
"""tokens per event of a call, over those of other replies, from which it does"""
_UNPARSED = re.compile(
    r"\s*(?:<\|?/?tool_?calls?(?:_begin|_section_begin)?\|?>|\[TOOL_CALLS\]|<\|python_tag\|>|<function[=_]|functools\["
    r"|<｜tool▁calls▁begin｜>|```(?:json|tool_code|tool_call)\b|\{\s*\"(?:name|function|tool|parameters|arguments)\"\s*:)"
)
"""how calls look in the templates of models, where no parser takes them out of the text"""
_MATTERS = "That matters only if your requests have tools."
_HOW = {"vllm": " (vLLM: `--enable-auto-tool-choice --tool-call-parser …`)", "llama.cpp": " (llama.cpp: `--jinja`)"}


def tool_calls(subject: Subject) -> CheckResult:
    """Ask for a tool call, and say how it arrives."""
    if subject.options.api != "chat":
        return CheckResult("tool_calls", Status.UNKNOWN, "Only checked in chat completions (--api chat).")
    reply = subject.sender.ask(Question(_MESSAGES, _TOOL_TOKENS, parameters=_TOOL_FIELDS))
    usual = [(other.tokens_out or 0) / len(other.at) for other in subject.answers if other.at]
    return judged_tool_call(reply, subject.server.kind, max(usual, default=1.0))


def judged_tool_call(reply: Answered, kind: str, usual: float = 1.0) -> CheckResult:
    """Say what a reply to a request with a tool is; `usual`: tokens per event of other replies."""
    figures: Figures = {"events": len(reply.at), "tokens": reply.tokens_out, "finish_reason": reply.finish_reason}
    # The client's text of a call is the name of the function, then its arguments.
    if reply.outcome in _REFUSED or (reply.status or 200) >= 400:
        status, evidence, advice = _refused(reply, kind)
    elif not reply.text:
        status, evidence, advice = Status.UNKNOWN, _no_text(reply), None
    elif reply.finish_reason in _CALLED or reply.text.startswith(_TOOL):
        status, evidence, advice = _called(reply, usual)
    else:
        status, evidence, advice = _as_text(reply, kind)
    return CheckResult("tool_calls", status, evidence, advice, figures)


_Verdict = tuple[Status, str, str | None]
"""Status, evidence and advice."""


def _refused(reply: Answered, kind: str) -> _Verdict:
    said = safe_text(reply.message or "no reason given")
    evidence = f"Refused: {said}. {_MATTERS}"
    return Status.OK, evidence, f"To allow them, start the server for it{_HOW.get(kind, '')}."


def _no_text(reply: Answered) -> str:
    if not reply.ok:
        return f"No tool call arrived: {safe_text(reply.message or reply.outcome)}."
    tokens = things(reply.tokens_out or 0, "token")
    if reply.reasoning:
        return f"No tool call arrived within {tokens}: the model reasons first."
    return f"No tool call arrived within {tokens}: a parser may hold one back until it is complete."


def _called(reply: Answered, usual: float) -> _Verdict:
    if not reply.streamed:
        return Status.OK, "A call arrives, not streamed.", None
    events = len(reply.at)
    if _held_back(reply, usual):
        evidence = f"The call's arguments are held back by the server's parser: {reply.tokens_out} tokens arrived in "
        evidence += f"{things(events, 'event')}. In a long call, users see a silence as long as its generation."
        return Status.WARN, evidence, "Use a tool parser that streams arguments."
    return Status.OK, f"A call arrives in {things(events, 'token event')}, as it is generated.", None


def _as_text(reply: Answered, kind: str) -> _Verdict:
    if _UNPARSED.match(reply.text):
        evidence = f"The model calls the tool, but the call arrives as text: no parser takes it out. {_MATTERS}"
        return Status.WARN, evidence, f"Start the server with a parser for this model's calls{_HOW.get(kind, '')}."
    how = f"in {things(len(reply.at), 'token event')}" if reply.streamed else "not streamed"
    return Status.OK, f"Tools are ignored: the reply is text, {how}. {_MATTERS}", None


def _held_back(reply: Answered, usual: float) -> bool:
    """Whether a parser collects many tokens of a call before it sends them."""
    tokens, events = reply.tokens_out or 0, max(1, len(reply.at))
    if tokens < _HELD_BACK_TOKENS:
        return False
    most = max(_HELD_BACK_TOKENS, _HELD_BACK_FACTOR * usual)
    return max(reply.event_tokens, default=0) >= most or tokens / events >= max(_HELD_BACK_FACTOR * usual, 4.0)


def reasoning(subject: Subject) -> CheckResult:
    """Say whether the samples contain reasoning, and whether an answer follows within --max-tokens."""
    answered = subject.answers
    if not answered:
        return CheckResult("reasoning", Status.UNKNOWN, "No reply to judge.")
    thinking = [reply for reply in answered if reply.reasoning]
    figures: Figures = {"replies": len(answered), "with_reasoning": len(thinking)}
    if not thinking:
        return CheckResult(
            "reasoning", Status.OK, f"None in {things(len(answered), 'reply', 'replies')}.", None, figures
        )
    seconds = [reply.at[-1] - reply.at[0] for reply in thinking if reply.at]
    longest = f", up to {formats.seconds(max(seconds))} of it" if seconds else ""
    seen = (
        f"Recognised in {len(thinking)} of {things(len(answered), 'reply', 'replies')}{longest}, {_form(thinking[0])}; "
        f"its tokens count as "
    )
    evidence = f"{seen}typing, not as the answer."
    if any(reply.text for reply in thinking):
        return CheckResult("reasoning", Status.OK, evidence, None, figures)
    evidence += f" No answer followed within {things(max(reply.tokens_out or 0 for reply in thinking), 'token')}."
    limit = subject.plan.max_tokens
    return CheckResult(
        "reasoning", Status.WARN, evidence, f"Raise --max-tokens ({limit}), or switch reasoning off.", figures
    )


def _form(reply: Answered) -> str:
    """Say where a reply's reasoning was found; between tags, it begins with one."""
    tagged = reply.reasoning.lstrip().startswith(("<", "[", "◁"))
    return "between tags of the text, which no parser took out" if tagged else "in a field of its own"
