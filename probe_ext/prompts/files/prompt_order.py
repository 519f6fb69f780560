"""In which order prompts are taken: shuffled, each once before any is taken again, computed without a list."""

from probe_ext.prompts.phrases import seeded_random

_ROUNDS = 4
_MASK = 2**64 - 1


class PromptOrder:
    """A shuffled order of `size` prompts, repeated without end: every pass over all of them has an order of its own."""

    def __init__(self, seed: int | str, size: int) -> None:
        if size < 1:
            raise ValueError("there must be a prompt")
        self.size = size
        self._seed = seed
        self._half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
        self._pass: tuple[int, tuple[int, ...]] = (-1, ())

    def prompt_at(self, position: int) -> int:
        """Return the number of the prompt at a position of the order, both counted from 0."""
        number, place = divmod(position, self.size)
        if self._pass[0] != number:
            rng = seeded_random(self._seed, "file prompts", number)
            self._pass = number, tuple(rng.getrandbits(64) for _ in range(_ROUNDS))
        place = self._shuffled(place)
        while place >= self.size:  # the network shuffles a power of four that is at most four times as large
            place = self._shuffled(place)
        return place

    def _shuffled(self, value: int) -> int:
        """A Feistel network: whatever its round function, it maps no two values to the same one."""
        bits = self._half_bits
        mask = (1 << bits) - 1
        left, right = value >> bits, value & mask
        for key in self._pass[1]:
            left, right = right, left ^ (_mixed(right + key) & mask)
        return left << bits | right


def _mixed(value: int) -> int:
    """Spread every bit of a value over 64 bits (the finalizer of SplitMix64)."""
    value = value * 0x9E3779B97F4A7C15 & _MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31
