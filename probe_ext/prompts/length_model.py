"""How many tokens a text has for the server under test, learned from the counts of a few samples.

Common tokenizers never merge across a space, so the cost of a text is the sum of its pieces' costs plus a constant
(begin-of-text, chat template). Phrases are measured one by one. If a phrase of 16 words costs 16 tokens, each of its
words costs one. If a line (tokens = a × words + b × letters) fits all phrases, it gives the cost of any word. Otherwise
some words are measured individually, and prompts are made of those.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from probe_ext.prompts.phrases import INSTRUCTIONS, Phrases
from probe_ext.prompts.word_list import words

TokenCounter = Callable[[str], int | None]
"""tokens of a text as the server counts them; None if it does not"""
CountedBy = Literal["tokenize", "usage", "characters"]

CHARACTERS_PER_TOKEN = 4.0
MIN_VOCABULARY = 128
"""words of known cost needed for unique beginnings"""
_MAX_LINE_ERROR_TOKENS = 0.5


@dataclass(frozen=True)
class LengthModel:
    """Tokens of pieces of text."""

    counted_by: CountedBy
    """`characters` is an estimate and must be shown as one"""
    constant: float
    """tokens of a prompt beside its text"""
    per_word: float
    per_letter: float
    measured: Mapping[str, int] = field(default_factory=dict, repr=False)
    """tokens of measured pieces"""
    vocabulary: tuple[str, ...] = field(default_factory=words, repr=False)
    """words whose cost is known as well as possible, in a fixed order"""

    def __hash__(self) -> int:
        """Hash the scalar fields; equality also compares the measured pieces."""
        return hash((self.counted_by, self.constant, self.per_word, self.per_letter))

    def tokens(self, piece: str) -> float:
        """Return the tokens that a piece adds after a space."""
        if piece in self.measured:
            return self.measured[piece]
        return self.per_word * _word_count(piece) + self.per_letter * _letter_count(piece)


def estimated_model() -> LengthModel:
    """Return the model to use if the server does not count: characters / 4, including spaces."""
    return LengthModel("characters", 0.0, 1 / CHARACTERS_PER_TOKEN, 1 / CHARACTERS_PER_TOKEN)


def measured_model(
    count: TokenCounter, counted_by: Literal["tokenize", "usage"], phrases: Phrases, samples: int | None = None
) -> LengthModel:
    """Return the model measured with the server's counts; `estimated_model()` if they are missing or inconsistent.

    `samples`: number of pieces to measure (default: all, 50 to 120 calls; 12 are enough if each call is a generation).
    """
    meter = _Meter(count, phrases.anchor)
    measured = meter.costs((*INSTRUCTIONS, *phrases.phrases)[:samples])
    if measured is None or meter.constant is None:
        return estimated_model()
    line = _fit_line(measured)
    vocabulary = words()
    if one_token_words := _one_token_words(measured):
        measured |= one_token_words
        vocabulary = tuple(sorted(one_token_words))
    elif samples is None and _max_error(measured, line) > _MAX_LINE_ERROR_TOKENS:
        measured_words = meter.costs(phrases.single_words)
        if measured_words is None:
            return estimated_model()
        measured |= measured_words
        vocabulary = tuple(sorted(measured_words))
    return LengthModel(counted_by, meter.constant, *line, measured, vocabulary)


class _Meter:
    """Measures pieces after an anchor phrase, since they occur within a text."""

    def __init__(self, count: TokenCounter, anchor: str) -> None:
        self._count = count
        self._anchor = anchor
        self._base = count(anchor)
        twice = count(f"{anchor} {anchor}")
        self.constant = None if self._base is None or twice is None else max(0.0, 2.0 * self._base - twice)

    def costs(self, pieces: Iterable[str]) -> dict[str, int] | None:
        """Return the tokens that each piece adds; None if a count is missing or adds nothing."""
        costs: dict[str, int] = {}
        for piece in pieces:
            total = self._count(f"{self._anchor} {piece}")
            if total is None or self._base is None or total <= self._base:
                return None
            costs[piece] = total - self._base
        return costs


def _one_token_words(measured: Mapping[str, int]) -> dict[str, int]:
    """Return the words of phrases that cost one token per word; none if they are too few."""
    phrases = [
        piece for piece, tokens in measured.items() if piece not in INSTRUCTIONS and tokens == _word_count(piece)
    ]
    one_token_words = {word: 1 for phrase in phrases for word in phrase.split(" ")}
    return one_token_words if len(one_token_words) >= MIN_VOCABULARY else {}


def _max_error(measured: Mapping[str, int], line: tuple[float, float]) -> float:
    return max(
        abs(line[0] * _word_count(piece) + line[1] * _letter_count(piece) - tokens)
        for piece, tokens in measured.items()
        if piece not in INSTRUCTIONS
    )


def _word_count(piece: str) -> int:
    return piece.count(" ") + 1 if piece else 0


def _letter_count(piece: str) -> int:
    return len(piece) - piece.count(" ")


def _fit_line(measured: Mapping[str, int]) -> tuple[float, float]:
    """Fit tokens = a × words + b × letters by least squares; b = 0 if the samples cannot tell them apart."""
    rows = [(_word_count(piece), _letter_count(piece), tokens) for piece, tokens in measured.items()]
    ww, wl, ll = sum(w * w for w, _, _ in rows), sum(w * x for w, x, _ in rows), sum(x * x for _, x, _ in rows)
    wt, lt = sum(w * t for w, _, t in rows), sum(x * t for _, x, t in rows)
    det = ww * ll - wl * wl
    if det < 1e-6 * ww * ll:
        return wt / ww, 0.0
    per_word, per_letter = (wt * ll - lt * wl) / det, (lt * ww - wt * wl) / det
    return (per_word, per_letter) if per_word >= 0 and per_letter >= 0 else (wt / ww, 0.0)
