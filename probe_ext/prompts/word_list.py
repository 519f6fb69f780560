"""The words that prompts are made of: short common English words, mostly one token each in common tokenizers."""

from functools import cache
from importlib.resources import files


@cache
def words() -> tuple[str, ...]:
    """Return all words in a fixed order."""
    return tuple(files("probe_ext.prompts").joinpath("words.txt").read_text(encoding="ascii").split())
