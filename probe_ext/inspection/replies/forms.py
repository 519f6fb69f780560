"""In which form do tool calls and reasoning arrive?"""

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
_TOOL_TOKENS = 64
_MESSAGES = ({"role": "user", "content": "Make the lamp green."},)
_REFUSED = {Outcome.HTTP_ERROR, Outcome.STREAM_ERROR}
_CALLED = {"tool_calls", "function_call", "tool_use"}
_HELD_BACK_TOKENS = 8
"""tokens of one event from which a parser seems to hold arguments back"""
_HOW = {"vllm": " (vLLM: `--enable-auto-tool-choice --tool-call-parser …`)", "llama.cpp": " (llama.cpp: `--jinja`)"}


def tool_calls(subject: Subject) -> CheckResult:
    """Ask for a tool call, and say how it arrives."""
    if subject.options.api != "chat":
        return CheckResult("tool_calls", Status.UNKNOWN, "Only checked in chat completions (--api chat).")
    reply = subject.sender.ask(Question(_MESSAGES, _TOOL_TOKENS, parameters=_TOOL_FIELDS))
    return judged_tool_call(reply, subject.server.kind)


def judged_tool_call(reply: Answered, kind: str) -> CheckResult:
    """Say what a reply to a request with a tool is."""
    figures: Figures = {"events": len(reply.at), "tokens": reply.tokens_out, "finish_reason": reply.finish_reason}
    if reply.outcome in _REFUSED or (reply.status or 200) >= 400:
        said = safe_text(reply.message or "no reason given")
        evidence = f"Refused: {said}. That matters only if your requests have tools."
        return CheckResult(
            "tool_calls", Status.OK, evidence, f"To allow them, start the server for it{_HOW.get(kind, '')}.", figures
        )
    if not (reply.ok or reply.text):
        why = safe_text(reply.message or reply.outcome)
        return CheckResult("tool_calls", Status.UNKNOWN, f"No tool call arrived: {why}.", None, figures)
    if not reply.streamed:
        called = reply.finish_reason in _CALLED
        evidence = f"{'A call arrives' if called else 'Tools are ignored: the reply is text'}, not streamed."
        return CheckResult("tool_calls", Status.OK, evidence, None, figures)
    largest = max(reply.event_tokens, default=0)
    whole = len(reply.at) <= 1 or largest >= _HELD_BACK_TOKENS
    if whole and (reply.tokens_out or 0) >= _HELD_BACK_TOKENS:
        evidence = f"The call's arguments are held back by the server's parser: {reply.tokens_out} tokens arrived in "
        evidence += f"{things(len(reply.at), 'event')}. In a long call, users see a silence as long as its generation."
        return CheckResult("tool_calls", Status.WARN, evidence, "Use a tool parser that streams arguments.", figures)
    events = things(len(reply.at), "token event")
    if reply.finish_reason not in _CALLED and not reply.text.lstrip().startswith("{"):
        evidence = f"Tools are ignored: the reply is text, in {events}. That matters only if your requests have tools."
        return CheckResult("tool_calls", Status.OK, evidence, None, figures)
    return CheckResult("tool_calls", Status.OK, f"A call arrives in {events}, as it is generated.", None, figures)


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
        f"Recognised in {len(thinking)} of {things(len(answered), 'reply', 'replies')}{longest}; its tokens count as "
    )
    evidence = f"{seen}typing, not as the answer."
    if any(reply.text for reply in thinking):
        return CheckResult("reasoning", Status.OK, evidence, None, figures)
    evidence += f" No answer followed within {max(reply.tokens_out or 0 for reply in thinking)} tokens."
    limit = subject.plan.max_tokens
    return CheckResult(
        "reasoning", Status.WARN, evidence, f"Raise --max-tokens ({limit}), or switch reasoning off.", figures
    )
