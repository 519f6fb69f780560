"""How long the prompts of a file are in the server's tokens, and which are too long, with as few counts as needed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from probe_ext.prompts.files.prompt_file import PromptFile
from probe_ext.prompts.files.prompt_order import PromptOrder

SAFETY = 1.25
"""A prompt is counted if it would be too long with this many times the most tokens per byte that any sample had."""
_MIN_SAMPLES_FOR_LINE = 8
_SAMPLE_TIME = 0.5
_MAX_UNCOUNTED = 3
"""prompts that the server may fail to count before it is taken as one that does not count"""


@dataclass(frozen=True)
class FileLengths:
    """Lengths of a file's prompts in tokens, as the server counts whole requests."""

    counted: int
    """prompts that the server counted"""
    mean_tokens: float | None
    """of the prompts that are sent; exact if all were counted, else estimated from the counted ones and all sizes"""
    exact: bool
    left_out: tuple[int, ...]
    """numbers of the prompts that are too long"""
    longest: tuple[int, int] | None
    """number and tokens of the longest counted prompt that is too long"""
    tokens_per_byte: float
    """of a prompt's text, by the least-squares line"""
    prompts: int
    """in the file"""
    counts: Mapping[int, int] = field(repr=False)
    """tokens of the counted prompts"""
    estimate: Callable[[int], float] = field(repr=False)
    """tokens of any prompt, by its size"""

    def without(self, left_out: Iterable[int]) -> "FileLengths":
        """Return the lengths if other prompts are left out; the mean is None if none remains."""
        out = set(left_out)
        kept = [number for number in range(self.prompts) if number not in out]
        # counts where there are, else the line, which knows every size
        tokens = [self.counts[number] if number in self.counts else self.estimate(number) for number in kept]
        return replace(
            self,
            mean_tokens=sum(tokens) / len(kept) if kept else None,
            exact=all(number in self.counts for number in kept),
            left_out=tuple(sorted(out)),
        )


def check_lengths(
    file: PromptFile,
    count: Callable[[int], int | None],
    *,
    limit: int | None,
    seed: int | str,
    samples: int,
    spent: Callable[[], float],
) -> FileLengths | None:
    """Count a seeded sample, then every prompt that may be longer than `limit` tokens, the largest first.

    `count`: the server's tokens of the request that a prompt makes; None if it does not count, perhaps because that
    prompt is too long. `spent`: share of the time for counting that is over; half of it is for the sample, and what is
    not counted at its end is judged by its size. None if the server counts nothing.
    """
    sample = _sample(file, count, PromptOrder(f"{seed}/lengths", len(file)), samples, spent)
    if not sample:
        return None
    line, counts = _Line(file, sample), dict(sample)
    left_out: set[int] = set()
    if limit is not None:
        for number in _suspects(file, line, limit):
            if number not in counts and spent() < 1 and (tokens := count(number)) is not None:
                counts[number] = tokens
            if counts.get(number, line.tokens(number)) > limit:
                left_out.add(number)
        left_out |= {number for number, tokens in sample.items() if tokens > limit}
    longest = max(left_out & counts.keys(), key=lambda number: counts[number], default=None)
    every = FileLengths(
        counted=len(counts),
        mean_tokens=None,
        exact=False,
        left_out=(),
        longest=None if longest is None else (longest, counts[longest]),
        tokens_per_byte=line.slope,
        prompts=len(file),
        counts=counts,
        estimate=line.tokens,
    )
    return every.without(left_out)


def _sample(
    file: PromptFile,
    count: Callable[[int], int | None],
    order: PromptOrder,
    samples: int,
    spent: Callable[[], float],
) -> dict[int, int]:
    counts: dict[int, int] = {}
    for position in range(min(samples, len(file))):
        number = order.prompt_at(position)
        if (tokens := count(number)) is not None:
            counts[number] = tokens
        if spent() >= _SAMPLE_TIME or (not counts and position + 1 >= _MAX_UNCOUNTED):
            break
    return counts


class _Line:
    """Tokens by the size of a prompt's text: the least-squares line through a sample."""

    def __init__(self, file: PromptFile, sample: dict[int, int]) -> None:
        self._file = file
        points = [(file.text_bytes(number), tokens) for number, tokens in sample.items()]
        mean_x, mean_y = sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
        spread = sum((x - mean_x) ** 2 for x, _ in points)
        slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
        if len(points) < _MIN_SAMPLES_FOR_LINE or slope <= 0 or mean_y < slope * mean_x:
            slope = mean_y / mean_x if mean_x else 0.0
        self.slope, self._base = slope, mean_y - slope * mean_x
        self.steepest = max(((y - self._base) / x for x, y in points if x), default=0.0)

    def tokens(self, number: int) -> float:
        """Return the estimated tokens of a prompt."""
        return self._base + self.slope * self._file.text_bytes(number)

    def suspicious_bytes(self, limit: int) -> float:
        """Return the size from which on a prompt may have more tokens than `limit`."""
        return (limit - self._base) / (SAFETY * self.steepest) if self.steepest > 0 else float("inf")


def _suspects(file: PromptFile, line: _Line, limit: int) -> list[int]:
    size = line.suspicious_bytes(limit)
    large = [number for number in range(len(file)) if file.text_bytes(number) >= size]
    return sorted(large, key=file.text_bytes, reverse=True)
