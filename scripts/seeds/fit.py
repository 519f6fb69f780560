"""Fit the card: five parameters, each to one published figure, on virtual time.

``python -m scripts.seeds.fit`` prints them.

Three are the same for both models; the memory bandwidth is fitted per model, to what its kernels reach. The profiles
have these values, rounded. Everything else in a profile follows from the model or is a setting.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from probe_ext.sim.profile import Profile, load_profile
from scripts.seeds import article, virtual, workload
from scripts.seeds.article import LLAMA, QWEN
from scripts.seeds.virtual import Load

ROUNDS = 4  # the last round changes no parameter by 0.01 %
BISECTION_STEPS = 40
SHORT = workload.SHORT

Card = dict[str, float]


def start() -> Card:
    """Return the initial values: the data sheet's bandwidth, and guesses."""
    return {"qwen": 3.6e11, "llama": 3.6e11, "sequence": 1e-4, "flops": 2.5e13, "frontend": 0.02}


def profiles(card: Card) -> dict[str, Profile]:
    """Return both models' profiles with the card's parameters."""
    shared: dict[str, Any] = {
        "sequence_overhead_s": card["sequence"],
        "flops": card["flops"],
        "frontend_s": card["frontend"],
    }
    return {
        QWEN: replace(load_profile(QWEN), memory_bandwidth=card["qwen"], **shared),
        LLAMA: replace(load_profile(LLAMA), memory_bandwidth=card["llama"], **shared),
    }


def rate(card: Card, model: str, users: int) -> float:
    """Return the median user's tokens/s at one level of the sweep."""
    return virtual.run(profiles(card)[model], Load(users, SHORT.own, SHORT.reply)).decode_rate(SHORT.reply)


def single_user_ttft(card: Card) -> float:
    """Return the TTFT of a single Qwen user."""
    return virtual.run(profiles(card)[QWEN], Load(1, SHORT.own, SHORT.reply)).ttft(0.5)


def _published(model: str, users: int) -> float:
    return article.SWEEP[users][(QWEN, LLAMA).index(model)][1]


FITS: tuple[tuple[str, float, float, Callable[[Card], float], float], ...] = (
    ("qwen", 1e11, 3.6e11, lambda card: rate(card, QWEN, 1), _published(QWEN, 1)),
    ("llama", 1e11, 3.6e11, lambda card: rate(card, LLAMA, 1), _published(LLAMA, 1)),
    ("sequence", 0.0, 1e-3, lambda card: rate(card, QWEN, 16), _published(QWEN, 16)),
    ("flops", 1e13, 5.1e13, lambda card: rate(card, QWEN, 64), _published(QWEN, 64)),
    ("frontend", 0.0, 0.04, single_user_ttft, article.BASELINE[QWEN][0]),
)
"""Parameter, its limits (data sheet: 360 GB/s, 51 TFLOPS), the figure it determines, that figure as published."""


def fit() -> Card:
    """Fit each parameter in turn, for several rounds."""
    card = start()
    for _ in range(ROUNDS):
        for name, low, high, figure, published in FITS:
            card[name] = solve(lambda value, n=name, f=figure: f({**card, n: value}), published, low, high)  # type: ignore[misc]
    return card


def solve(figure: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Find by bisection where a monotone function has the target value."""
    rising = figure(high) > figure(low)
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        if (figure(middle) < target) == rising:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def main() -> None:
    """Print the fitted parameters and the profiles' values."""
    card = fit()
    built_in = {name: load_profile(name) for name in (QWEN, LLAMA)}
    print(f"memory_bandwidth     Qwen     {card['qwen']:.4g}  in the profile {built_in[QWEN].memory_bandwidth:.4g}")
    print(f"memory_bandwidth     Llama-2  {card['llama']:.4g}  in the profile {built_in[LLAMA].memory_bandwidth:.4g}")
    for name, key in (("sequence", "sequence_overhead_s"), ("flops", "flops"), ("frontend", "frontend_s")):
        print(f"{key:<20} both     {card[name]:.4g}  in the profiles {getattr(built_in[QWEN], key):.4g}")


if __name__ == "__main__":
    main()
