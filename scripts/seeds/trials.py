"""Which runs of the probe measure the article's tables: scenario, users, options, and how much faster than the card.

Users ask together and for so long that the first wave is whole: one wave at high numbers, a few at low ones. Times that
decide something (waits for the first word) are measured at the card's own speed; where only tokens, memory and order
count, the simulated card runs ``SPEED`` times faster and the figures are taken back to its own time.
"""

from dataclasses import dataclass

from scripts.seeds import article, workload
from scripts.seeds.article import LLAMA, QWEN
from scripts.seeds.workload import Workload

SPEED = 4.0
"""for the memory wall and the long prompts: steps of 25 to 140 ms on the card, 6 to 35 ms here"""
ONE_WAVE = "1s"
"""no second reply starts after this, and every first one takes longer"""


@dataclass(frozen=True)
class Trial:
    """One run of the probe against a simulated server of its own."""

    table: str
    model: str
    users: int
    scenario: str
    options: tuple[str, ...]
    speed: float = 1.0
    personality: str = "vllm"

    @property
    def name(self) -> str:
        """For directories and progress."""
        return f"{self.table}-{self.model.split('-')[1]}-{self.users}"


def _asks(load: Workload) -> tuple[str, ...]:
    shared = ("--shared-prefix-tokens", str(load.shared))
    lengths = ("--input-tokens", str(load.prompt), *shared, "--max-tokens", str(load.reply))
    return ("--api", "completion", "--ignore-eos", *lengths)


def _together(users: int, seconds: str) -> tuple[str, ...]:
    """All at once by Locust's own options, then let every reply finish."""
    return ("-u", str(users), "-r", str(users), "-t", seconds, "--drain", "900s", "--warm-up", "off")


def _wall(table: str, model: str, users: int, load: Workload) -> Trial:
    options = (*_asks(load), *_together(users, ONE_WAVE), "--metrics-every", "0.2s")
    return Trial(table, model, users, "memory_wall", options, SPEED)


def _caching(model: str, arm: str, seconds: str, reply: int) -> Trial:
    load = workload.CACHED[model]
    options = (*_asks(load), "--max-tokens", str(reply), *_together(article.CACHING_USERS, seconds), "--tags", arm)
    return Trial(f"caching-{arm}", model, article.CACHING_USERS, "cold_user", options)


def trials() -> list[Trial]:
    """Everything, in the article's order."""
    short = _asks(workload.SHORT)
    found = [Trial("baseline", model, 1, "baseline", (*short, "--warm-up", "off")) for model in (QWEN, LLAMA)]
    for model in (QWEN, LLAMA):
        found += [Trial("sweep", model, n, "capacity", (*short, *_together(n, "8s"))) for n in article.SWEEP]
    found += [_wall("wall", LLAMA, users, workload.WALL) for users in article.WALL]
    found += [_wall("distinct", LLAMA, users, workload.WALL_DISTINCT) for users in article.WALL]
    found.append(_wall("long", QWEN, article.LONG_USERS, workload.LONG))
    # Four waves of eight, about the article's thirty requests; Llama-2's shared arm is over before Locust can stop it.
    for model, cold, warm in ((QWEN, "14s", "7s"), (LLAMA, "9s", "1s")):
        replies = workload.CACHED[model].reply, workload.CACHED_REPLY_SHARED[model]
        found += [_caching(model, "cold", cold, replies[0]), _caching(model, "warm", warm, replies[1])]
    found += [_mixed(model) for model in (QWEN, LLAMA)]
    found.append(_cold_start())
    return found


def _mixed(model: str) -> Trial:
    """The probe's own experiment: both arms at once, judged by its report."""
    users = article.CACHING_USERS
    options = (*_asks(workload.CACHED[model]), "--levels", str(users), "--hold", "30s", "--warm-up", "off")
    return Trial("mixed", model, users, "cold_user", options)


def _cold_start() -> Trial:
    """A server that pays once for each batch size, and what the warm-up says of it."""
    options = (*_asks(workload.SHORT), "-u", "8", "-r", "8", "-t", "4s", "--drain", "900s", "--warm-up", "64")
    return Trial("warm-up", QWEN, 8, "capacity", options, SPEED, "cold-start")
