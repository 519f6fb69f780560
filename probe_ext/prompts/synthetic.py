"""Single prompts of a given length: seeded, reproducible, and without a common prefix unless requested.

Two runs with the same seed send the same prompts, which the server would find in its prefix cache: use a new seed for
each run, unless the same text is wanted.
"""

from probe_ext.prompts.composer import TooShortError, composer
from probe_ext.prompts.length_model import LengthModel
from probe_ext.prompts.prompt import Prompt, single


class PromptMaker:
    """Makes the prompts of one run."""

    def __init__(
        self, seed: int | str, input_tokens: int, model: LengthModel, *, shared_prefix_tokens: int = 0
    ) -> None:
        """`input_tokens`: length of the whole prompt as the server counts it, including template and shared prefix.

        TooShortError if template, shared prefix and a unique beginning do not fit.
        """
        self._composer = composer(seed, model)
        self._input_tokens = input_tokens
        prefix_tokens = max(0, shared_prefix_tokens)
        self._shared = self._composer.shared("shared prefix", prefix_tokens) if prefix_tokens else ""
        self._own_tokens = input_tokens - model.constant - prefix_tokens
        if self._own_tokens < self._composer.min_tokens:
            needed = round(model.constant + prefix_tokens) + self._composer.min_tokens
            raise TooShortError(
                f"too short: chat template, {prefix_tokens} shared prefix tokens and a unique beginning need {needed}"
            )

    def prompt(self, user: int, number: int, *, own_first: bool = False) -> Prompt:
        """Return the prompt of a user's request `number`, both counted from 0 over the whole run.

        `own_first` puts the unique text before the shared text: the same length without a shared prefix.
        """
        own = self._composer.unique(user, number, self._own_tokens)
        parts = (own, self._shared) if own_first else (self._shared, own)
        return single(" ".join(part for part in parts if part), self._input_tokens)
