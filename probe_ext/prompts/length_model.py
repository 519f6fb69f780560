"""How many tokens a piece of text is to the server under test, learned from counts of a few samples.

Tokenizers of the usual kinds never merge across a space, so the cost of a text is the sum of its pieces' costs and one
constant (begin-of-text, chat template). Bricks are measured one by one. A brick of 16 words that costs 16 tokens tells
that each of its words costs one; a line through the bricks (tokens = a × words + b × letters) that meets them all tells
what any word costs. Where neither does, some words are measured singly, and prompts are made of those.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from probe_ext.prompts.phrases import REQUESTS, Bricks
from probe_ext.prompts.word_list import words

Count = Callable[[str], int | None]
"""tokens of a text as the server counts them; None where it does not tell"""
CountedBy = Literal["tokenize", "usage", "characters"]

CHARACTERS_PER_TOKEN = 4.0
ENOUGH_WORDS = 128
"""words of known cost, to make beginnings of"""


@dataclass(frozen=True)
class LengthModel:
    """Tokens of pieces of text."""

    counted_by: CountedBy
    """`characters` is a guess (four a token) and must be shown as one"""
    constant: float
    """tokens of a prompt beside its text"""
    per_word: float
    per_letter: float
    known: Mapping[str, int] = field(default_factory=dict, repr=False)
    """measured pieces"""
    sure: tuple[str, ...] = field(default_factory=words, repr=False)
    """single words whose cost is as good as it gets, in a fixed order"""

    def __hash__(self) -> int:
        """Equal models are equal in these; what `known` holds is left to the comparison."""
        return hash((self.counted_by, self.constant, self.per_word, self.per_letter))

    def tokens(self, piece: str) -> float:
        """Tokens that a piece adds when it stands behind a space."""
        if piece in self.known:
            return self.known[piece]
        return self.per_word * _words(piece) + self.per_letter * _letters(piece)


def guessed() -> LengthModel:
    """The model where no server counts: characters / 4, spaces included."""
    return LengthModel("characters", 0.0, 1 / CHARACTERS_PER_TOKEN, 1 / CHARACTERS_PER_TOKEN)


def measured(
    count: Count, counted_by: Literal["tokenize", "usage"], pieces: Bricks, samples: int | None = None
) -> LengthModel:
    """The model that the server's counts give; `guessed()` where it gives none, or none that make sense.

    `samples`: how many pieces to measure; all by default, 50 to 120 calls. Where each call is a generation, a dozen do.
    """
    scale = _Scale(count, pieces.anchor)
    known = scale.costs((*REQUESTS, *pieces.runs)[:samples])
    if known is None or scale.constant is None:
        return guessed()
    line = _line(known)
    sure = words()
    if singles := _single_words(known):
        known |= singles
        sure = tuple(sorted(singles))
    elif samples is None and _worst(known, line) > 0.5:
        weighed = scale.costs(pieces.singles)
        if weighed is None:
            return guessed()
        known |= weighed
        sure = tuple(sorted(weighed))
    return LengthModel(counted_by, scale.constant, *line, known, sure)


class _Scale:
    """Weighs pieces behind an anchor, so that each is counted as it stands within a text."""

    def __init__(self, count: Count, anchor: str) -> None:
        self._count = count
        self._anchor = anchor
        self._base = count(anchor)
        twice = count(f"{anchor} {anchor}")
        self.constant = None if self._base is None or twice is None else max(0.0, 2.0 * self._base - twice)

    def costs(self, pieces: Iterable[str]) -> dict[str, int] | None:
        """What each piece adds; None where a count is missing or adds nothing."""
        costs: dict[str, int] = {}
        for piece in pieces:
            total = self._count(f"{self._anchor} {piece}")
            if total is None or self._base is None or total <= self._base:
                return None
            costs[piece] = total - self._base
        return costs


def _single_words(known: Mapping[str, int]) -> dict[str, int]:
    """The words that cost one token each, told by bricks that cost a token a word; none where they are too few."""
    bricks = [piece for piece, tokens in known.items() if piece not in REQUESTS and tokens == _words(piece)]
    singles = {word: 1 for brick in bricks for word in brick.split(" ")}
    return singles if len(singles) >= ENOUGH_WORDS else {}


def _worst(known: Mapping[str, int], line: tuple[float, float]) -> float:
    return max(abs(line[0] * _words(p) + line[1] * _letters(p) - t) for p, t in known.items() if p not in REQUESTS)


def _words(piece: str) -> int:
    return piece.count(" ") + 1 if piece else 0


def _letters(piece: str) -> int:
    return len(piece) - piece.count(" ")


def _line(known: Mapping[str, int]) -> tuple[float, float]:
    """Least squares for tokens = a × words + b × letters; b = 0 where the samples cannot tell them apart."""
    rows = [(_words(piece), _letters(piece), tokens) for piece, tokens in known.items()]
    ww, wl, ll = sum(w * w for w, _, _ in rows), sum(w * x for w, x, _ in rows), sum(x * x for _, x, _ in rows)
    wt, lt = sum(w * t for w, _, t in rows), sum(x * t for _, x, t in rows)
    det = ww * ll - wl * wl
    if det < 1e-6 * ww * ll:
        return wt / ww, 0.0
    per_word, per_letter = (wt * ll - lt * wl) / det, (lt * ww - wt * wl) / det
    return (per_word, per_letter) if per_word >= 0 and per_letter >= 0 else (wt / ww, 0.0)
