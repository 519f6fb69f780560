"""Hands out the prompts of one file to the users of one process: none twice before all were sent."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable

from probe_ext.prompts.files.prompt_file import PromptFile
from probe_ext.prompts.files.prompt_forms import FilePrompt
from probe_ext.prompts.files.prompt_order import PromptOrder


class PromptQueue:
    """One process's part of a file's prompts.

    The processes of a swarm take turns in one shuffled order: process `slot` of `slots` takes every `slots`-th
    position, so no two of them send the same prompt before all were sent once.
    """

    def __init__(
        self, file: PromptFile, seed: int | str, left_out: Iterable[int] = (), *, slot: int = 0, slots: int = 1
    ) -> None:
        """`left_out`: numbers of prompts that are never sent. ValueError if none remains.

        A `slot` that is not below `slots` is that of a process that joined later: it begins in the middle of the order,
        where it repeats what others send at another time.
        """
        gaps = sorted(set(left_out))
        self._file = file
        self._order = PromptOrder(f"{seed}/{file.digest}", len(file) - len(gaps))
        self._gaps = [number - before for before, number in enumerate(gaps)]
        """for each left-out prompt, how many that are sent come before it"""
        late = slot >= slots
        self._position = slot % slots + (len(self) // 2 // slots * slots if late else 0)
        self._step = slots
        self._returned: deque[FilePrompt] = deque()

    def __len__(self) -> int:
        """Return the number of prompts that are sent."""
        return self._order.size

    def number_at(self, position: int) -> int:
        """Return the number in the file of the prompt at a position of the order that all processes share."""
        rank = self._order.prompt_at(position)
        return rank + bisect_right(self._gaps, rank)

    def at(self, position: int) -> FilePrompt:
        """Return the prompt at a position of the shared order. PromptFileError if the file has changed."""
        return self._file[self.number_at(position)]

    def take(self, *, first: bool = True) -> FilePrompt:
        """Return this process's next prompt. PromptFileError if the file has changed.

        `first`: it begins a conversation, so it is one that was given back, if there is any: there is room for it.
        """
        if first and self._returned:
            return self._returned.popleft()
        prompt = self.at(self._position)
        self._position += self._step
        return prompt

    def give_back(self, prompt: FilePrompt) -> None:
        """Take back a prompt that was not sent; a conversation will begin with it."""
        self._returned.append(prompt)
