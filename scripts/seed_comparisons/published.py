"""What four published texts compare: their figures, and the servers and loads that stand in for what they measured."""

from dataclasses import dataclass
from typing import Literal

Figure = Literal["per_user", "total", "slower", "most"]
HOURS_OF_THREE_YEARS = 3 * 365 * 24


@dataclass(frozen=True)
class Server:
    """A set-up: a simulated server."""

    name: str
    profile: str
    """a file of `servers/`, without ending"""
    personality: str = "vllm"
    price: float | None = None
    """to buy it"""

    @property
    def price_per_hour(self) -> float | None:
        """Its price over three years, without electricity."""
        return None if self.price is None else self.price / HOURS_OF_THREE_YEARS


@dataclass(frozen=True)
class Published:
    """A figure of the text. Tokens/s, or a ratio."""

    server: str
    figure: Figure
    users: int | None
    low: float
    high: float
    """the same as `low` where the text gives one number"""
    fitted: str = ""
    """number of the simulated server that was fitted to it; empty if it is predicted"""


@dataclass(frozen=True)
class SeedComparison:
    """One text's comparison."""

    key: str
    title: str
    servers: tuple[Server, ...]
    levels: tuple[int, ...]
    hold: str
    tokens: tuple[int, int]
    """of a prompt and of a reply"""
    published: tuple[Published, ...] = ()
    people: int | None = None
    """to plan for"""


_RULE_OF_THUMB = "sequence_overhead_s"
RULE_OF_THUMB: tuple[tuple[Figure, int, float, float], ...] = (
    ("per_user", 1, 80, 120),
    ("total", 3, 150, 200),
    ("per_user", 3, 50, 70),
    ("per_user", 10, 15, 25),
    ("total", 10, 200, 200),
)
"""what one text expects of a 7B model on an RTX 4090: figure, users, range"""

COMPARISONS = (
    SeedComparison(
        "001-batching",
        "One request after another, or continuous batching: 1, 3 and 10 users",
        (
            Server("Sequential", "rtx4090-7b-4bit", "sequential"),
            Server("Continuous batching", "rtx4090-7b-4bit"),
            Server("Predicted from the card", "rtx4090"),
        ),
        (1, 3, 10),
        "45s",
        (64, 100),
        (
            *(
                Published(server, figure, users, low, high, fitted)
                for server, fitted in (("Continuous batching", _RULE_OF_THUMB), ("Predicted from the card", ""))
                for figure, users, low, high in RULE_OF_THUMB
            ),
            Published("Sequential", "slower", 3, 3, 3),
        ),
    ),
    SeedComparison(
        "002-quantization",
        "FP8, AWQ, GPTQ",
        (Server("FP8", "a100-fp8"), Server("AWQ", "a100-awq"), Server("GPTQ", "a100-gptq")),
        (16, 48, 64, 128, 256),
        "15s",
        (20, 128),
        (
            Published("FP8", "most", None, 1070, 1070, "max_num_seqs"),
            Published("AWQ", "most", None, 1211, 1211),
            Published("GPTQ", "most", None, 3114, 3114),
        ),
    ),
    SeedComparison(
        "003-cost",
        "What a token costs on three cards",
        (
            Server("RTX 5060 Ti", "rtx5060ti", price=400),
            Server("RTX 4090", "rtx4090", price=1600),
            Server("RTX A6000", "a6000", price=4000),
        ),
        (1, 2, 8, 32),
        "20s",
        (64, 200),
        (
            Published("RTX 5060 Ti", "total", 1, 78.7, 78.7, "memory_bandwidth"),
            Published("RTX 5060 Ti", "total", 2, 152.1, 152.1),
        ),
        people=30,
    ),
    SeedComparison(
        "004-max-num-seqs",
        "--max-num-seqs 8, 16, 32, 64",
        tuple(Server(f"max-num-seqs {places}", f"spark-{places}") for places in (8, 16, 32, 64)),
        (4, 8, 16, 32, 64, 96),
        "15s",
        (64, 60),
        people=60,
    ),
)
