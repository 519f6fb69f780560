"""Does a server read the parameters that fix a reply's length, or does it ignore what it does not know?"""

from collections.abc import Callable

from probe_ext.access.sender import Answered, Question
from probe_ext.prompts.prompt import Prompt

_CHECKED_BY = frozenset({"vllm"})
"""engines that refuse `min_tokens: -1`, and so are known to read the parameters"""


def obeys_length(kind: str, prompt: Callable[[], Prompt], ask: Callable[[Question], Answered]) -> bool | None:
    """Whether the server refuses an invalid parameter: then it has read the others, too. None: not known to check."""
    if kind not in _CHECKED_BY:
        return None
    reply = ask(Question(prompt(), 1, streamed=False, parameters={"min_tokens": -1}))
    return reply.status in {400, 422} and "min_tokens" in (reply.error_text or reply.message or "")
