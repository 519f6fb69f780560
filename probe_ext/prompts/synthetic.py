"""Single prompts of a stated length: seeded, reproducible, and without a common prefix unless one is asked for.

Two runs with one seed send the same prompts, and the second would find them in the server's prefix cache: give each run
a seed of its own unless the same text is wanted.
"""

from probe_ext.prompts.composer import TooShortError, layer
from probe_ext.prompts.length_model import LengthModel
from probe_ext.prompts.prompt import Prompt, single


class PromptMaker:
    """Makes the prompts of one run."""

    def __init__(
        self, seed: int | str, input_tokens: int, model: LengthModel, *, shared_prefix_tokens: int = 0
    ) -> None:
        """`input_tokens`: the whole prompt as the server counts it, template and shared prefix included.

        TooShortError when that cannot hold the template, the shared prefix and a beginning of its own.
        """
        self._layer = layer(seed, model)
        self._asked = input_tokens
        self._shared = self._layer.shared("shared prefix", shared_prefix_tokens) if shared_prefix_tokens > 0 else ""
        self._own = input_tokens - model.constant - max(0, shared_prefix_tokens)
        if self._own < self._layer.least:
            least = round(input_tokens - self._own) + self._layer.least
            raise TooShortError(
                f"input_tokens: {input_tokens} is too short: the chat template, {shared_prefix_tokens} shared tokens "
                f"and a beginning of its own take {least}"
            )

    def prompt(self, user: int, number: int, *, own_first: bool = False) -> Prompt:
        """The prompt of a user's reply `number`, both counted from 0 over the whole run.

        `own_first` puts what is this prompt's own before the shared text: as long, and no prefix that others have.
        """
        own = self._layer.unique(user, number, self._own)
        parts = (own, self._shared) if own_first else (self._shared, own)
        return single(" ".join(part for part in parts if part), self._asked)
