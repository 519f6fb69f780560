"""The questions of a kind of user whose prompts come from a file, and the replies for which there is room."""

from collections.abc import Mapping
from typing import Any, NoReturn

from probe_ext.prompts.files.file_chat import FileChat
from probe_ext.prompts.files.prompt_forms import FilePrompt
from probe_ext.prompts.files.prompt_queue import PromptQueue
from probe_ext.prompts.files.source import PromptFileError
from probe_ext.prompts.prompt import Prompt

_MARGIN_SHARE = 0.02  # of the context, for what is only estimated


class LostFile:
    """A file that could not be used any more when the run began."""

    def __init__(self, error: PromptFileError) -> None:
        self._error = error

    def begin(self, system: str, shared_prefix: str, position: int | None = None) -> NoReturn:
        """Raise the PromptFileError."""
        raise self._error


class FileQuestions:
    """Questions for all users of one kind in one process.

    `prepared`: what the master found out about the file; `context`: the model's context length in tokens, if known;
    `lane` of `lanes`: place of the kind among those that take prompts from the same file.
    """

    def __init__(
        self, queue: PromptQueue, prepared: Mapping[str, Any], context: int | None, *, lane: int = 0, lanes: int = 1
    ) -> None:
        self.queue, self.context = queue, context
        self._lane, self._lanes = lane, lanes
        self.room: int | None = prepared["room"]
        self.tokens_per_byte: float = prepared["tokens_per_byte"] or 0.0

    def begin(self, system: str, shared_prefix: str, position: int | None = None) -> "FileTurns":
        """Return a new conversation. `position`: of its first question in the kind's order; None: the next."""
        return FileTurns(self, system, shared_prefix, position)

    def at(self, position: int) -> FilePrompt:
        """Return the prompt at a position of the kind's order. PromptFileError if the file has changed."""
        return self.queue.at(position * self._lanes + self._lane)


class FileTurns:
    """The turns of one conversation."""

    def __init__(self, questions: FileQuestions, system: str, shared_prefix: str, position: int | None = None) -> None:
        self._questions, self._position = questions, position
        self._chat = FileChat(self._take, system=system, shared_prefix=shared_prefix)
        self._tokens: int | None = None
        """of the chat at the last reply, as the server counted them"""

    @property
    def turns(self) -> int:
        """Questions so far."""
        return self._chat.turns

    def _take(self) -> FilePrompt:
        first = not self._chat.turns
        if first and self._position is not None:
            return self._questions.at(self._position)
        return self._questions.queue.take(first=first)

    def question(self, tokens: int | None, output: int) -> tuple[Prompt, int] | None:
        """Return the next request, and the tokens that its reply may have; None if the context has no room for more.

        The file says how long a question is: `tokens` are not used. A prompt for which there is no room goes back to
        the file's queue, and begins another conversation. PromptFileError if the file has changed.
        """
        questions = self._questions
        prompt = self._chat.ask()
        if questions.room is not None:
            output = min(output, questions.room)
        if self._tokens is not None and questions.context is not None:
            so_far = self._tokens + questions.tokens_per_byte * self._chat.new_bytes
            if so_far + output > questions.context * (1 - _MARGIN_SHARE):
                if self._chat.taken is not None:
                    questions.queue.give_back(self._chat.taken)
                return None
        return prompt, output

    def answered(self, text: str, tokens_in: int | None = None, tokens_out: int | None = None) -> None:
        """Add the answer; the server's counts tell how long the chat is."""
        self._chat.answered(text)
        self._tokens = None if tokens_in is None else tokens_in + (tokens_out or 0)
