"""Fit the card: five numbers, each to one published cell, on virtual time. ``python -m scripts.seeds.fit`` shows them.

Four belong to the card and are the same for both models, but for the bandwidth that each model's kernels reach. The
numbers in the profiles are these, rounded. Everything else in a profile is arithmetic on the model or a setting.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from probe_ext.sim.profile import Profile, load_profile
from scripts.seeds import article, virtual, workload
from scripts.seeds.article import LLAMA, QWEN
from scripts.seeds.virtual import Load

ROUNDS = 4
"""times through all numbers; the last changes none by 0.01 %"""
HALVINGS = 40
SHORT = workload.SHORT

Card = dict[str, float]


def start() -> Card:
    """Where to begin: data sheet's bandwidth, any other guesses."""
    return {"qwen": 3.6e11, "llama": 3.6e11, "sequence": 1e-4, "flops": 2.5e13, "frontend": 0.02}


def profiles(card: Card) -> dict[str, Profile]:
    """Both models on such a card."""
    both: dict[str, Any] = {
        "sequence_overhead_s": card["sequence"],
        "flops": card["flops"],
        "frontend_s": card["frontend"],
    }
    return {
        QWEN: replace(load_profile(QWEN), memory_bandwidth=card["qwen"], **both),
        LLAMA: replace(load_profile(LLAMA), memory_bandwidth=card["llama"], **both),
    }


def rate(card: Card, model: str, users: int) -> float:
    """Tokens a second of the median user of a sweep's level."""
    return virtual.run(profiles(card)[model], Load(users, SHORT.own, SHORT.reply)).decode_rate(SHORT.reply)


def first_word(card: Card) -> float:
    """Seconds that a lone user of Qwen waits."""
    return virtual.run(profiles(card)[QWEN], Load(1, SHORT.own, SHORT.reply)).ttft(0.5)


def _published(model: str, users: int) -> float:
    return article.SWEEP[users][(QWEN, LLAMA).index(model)][1]


RULES: tuple[tuple[str, float, float, Callable[[Card], float], float], ...] = (
    ("qwen", 1e11, 3.6e11, lambda card: rate(card, QWEN, 1), _published(QWEN, 1)),
    ("llama", 1e11, 3.6e11, lambda card: rate(card, LLAMA, 1), _published(LLAMA, 1)),
    ("sequence", 0.0, 1e-3, lambda card: rate(card, QWEN, 16), _published(QWEN, 16)),
    ("flops", 1e13, 5.1e13, lambda card: rate(card, QWEN, 64), _published(QWEN, 64)),
    ("frontend", 0.0, 0.04, first_word, article.BASELINE[QWEN][0]),
)
"""number, its bounds (data sheet: 360 GB/s, 51 TFLOPS), what it decides, what was published of that"""


def fit() -> Card:
    """Each number in turn until its cell is met, over and over."""
    card = start()
    for _ in range(ROUNDS):
        for name, low, high, figure, published in RULES:
            card[name] = solve(lambda value, n=name, f=figure: f({**card, n: value}), published, low, high)  # type: ignore[misc]
    return card


def solve(figure: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Where a monotone figure is what is wanted, by halving."""
    rising = figure(high) > figure(low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if (figure(middle) < wanted) == rising:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def main() -> None:
    """Print the card, and what the profiles hold."""
    card = fit()
    held = {name: load_profile(name) for name in (QWEN, LLAMA)}
    print(f"memory_bandwidth     Qwen     {card['qwen']:.4g}  in the profile {held[QWEN].memory_bandwidth:.4g}")
    print(f"memory_bandwidth     Llama-2  {card['llama']:.4g}  in the profile {held[LLAMA].memory_bandwidth:.4g}")
    for name, key in (("sequence", "sequence_overhead_s"), ("flops", "flops"), ("frontend", "frontend_s")):
        print(f"{key:<20} both     {card[name]:.4g}  in the profiles {getattr(held[QWEN], key):.4g}")


if __name__ == "__main__":
    main()
