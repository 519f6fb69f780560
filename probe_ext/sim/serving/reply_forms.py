"""Give a drawn reply another form: reasoning before the answer, or the arguments of a tool call."""

from dataclasses import replace

from probe_ext.sim.personality import LONG_REASONING_TOKENS, Personality
from probe_ext.sim.protocol.request_body import ApiRequest
from probe_ext.sim.serving.reply_generator import Reply

THINK_BEGIN, THINK_END = "<think>", "</think>"
TOOL_BEGIN, TOOL_END = '<tool_call>{{"name": "{tool}", "arguments": ', "}</tool_call>"
_ARGUMENTS_BEGIN, _ARGUMENTS_END = '{"colour": "', '"}'


def calls_tool(request: ApiRequest, personality: Personality) -> bool:
    """Whether the reply is a call of the request's tool."""
    return request.api == "chat" and request.tool is not None and personality.tools in {"streamed", "held", "text"}


def reasons(request: ApiRequest, personality: Personality) -> bool:
    """Whether the reply begins with reasoning."""
    return request.api == "chat" and bool(personality.reasoning) and not calls_tool(request, personality)


def reasoning_tokens(reply: Reply, personality: Personality) -> int:
    """Return how many of the reply's first tokens are reasoning."""
    length = len(reply.texts)
    return min(LONG_REASONING_TOKENS, length) if personality.reasoning == "long" else max(1, length // 3)


def formed(reply: Reply, request: ApiRequest, personality: Personality) -> Reply:
    """Return the reply with the texts of its form; the number of tokens stays."""
    if calls_tool(request, personality):
        ends = reply.finish_reason == "stop"
        begin, end = _ARGUMENTS_BEGIN, _ARGUMENTS_END if ends else ""
        if personality.tools == "text":
            begin = TOOL_BEGIN.format(tool=request.tool) + begin
            end += TOOL_END if ends else ""
        return _between(reply, begin, end, len(reply.texts))
    if reasons(request, personality) and personality.think_tags:
        return _between(reply, THINK_BEGIN, THINK_END, reasoning_tokens(reply, personality))
    return reply


def _between(reply: Reply, begin: str, end: str, tokens: int) -> Reply:
    texts = list(reply.texts)
    texts[0] = begin + texts[0]
    texts[tokens - 1] += end
    return replace(reply, texts=tuple(texts))
