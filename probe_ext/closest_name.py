"""Suggest the name that somebody meant, for messages about unknown names."""

import difflib
import re
from collections.abc import Iterable

_MIN_PART_LENGTH = 4  # shorter parts of a name, as the `by` of `by-hand`, are close to too much


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean NAME?)`, or nothing if no known name, nor a part of one, is close."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1) or _with_close_part(word, names)
    return f" (did you mean {close[0]}?)" if close else ""


def _with_close_part(word: str, names: Iterable[str]) -> list[str]:
    """Return the name with the closest part, as `coding-assistant` for `codin`."""
    owners = {part: name for name in names for part in re.split(r"[-_./:]+", name) if len(part) >= _MIN_PART_LENGTH}
    return [owners[part] for part in difflib.get_close_matches(word.strip("-"), owners, n=1, cutoff=0.8)]
