"""The trials, i.e. runs of `probe`, that measure the article's tables: scenario, users, options, speed.

All users send their first request at the same time, and every run includes at least this whole wave: one wave with many
users, several with few. TTFT is measured at the card's own speed. Where only tokens, memory and order matter, the
simulated card runs ``SPEED`` times faster and the figures are converted back.
"""

from dataclasses import dataclass

from scripts.seeds import article, workload
from scripts.seeds.article import LLAMA, QWEN
from scripts.seeds.workload import Workload

SPEED = 4.0
"""Speed-up for the memory wall and the long prompts; steps take 25 to 140 ms on the card, 6 to 35 ms here."""
ONE_WAVE = "1s"  # shorter than any first reply, so that no second one starts


@dataclass(frozen=True)
class Trial:
    """One run of `probe` against its own simulated server."""

    table: str
    model: str
    users: int
    scenario: str
    options: tuple[str, ...]
    speed: float = 1.0
    personality: str = "vllm"

    @property
    def name(self) -> str:
        """Name for directories and progress output."""
        return f"{self.table}-{self.model.split('-')[1]}-{self.users}"

    @property
    def min_replies(self) -> int:
        """Replies without which the run measured something else: one of each user; of prefix caching, three.

        On a busy machine, a run of a second can be over before all users have sent.
        """
        return self.users * (3 if self.table.startswith("caching") else 1)

    @property
    def server_options(self) -> tuple[str, ...]:
        """The options of `probe sim` that start the server, without the port."""
        return ("--profile", self.model, "--speed", f"{self.speed:g}", "--personality", self.personality)

    @property
    def load_arguments(self) -> tuple[str, ...]:
        """The arguments of `probe run` that make the load, without the host."""
        return (self.scenario, *self.options)


def _prompt_options(load: Workload) -> tuple[str, ...]:
    shared = ("--shared-prefix-tokens", str(load.shared))
    lengths = ("--input-tokens", str(load.prompt), *shared, "--max-tokens", str(load.reply))
    return ("--api", "completion", "--ignore-eos", *lengths)


def _simultaneous_users(users: int, seconds: str) -> tuple[str, ...]:
    """Start all users at once with Locust's own options, and let every reply finish."""
    return ("-u", str(users), "-r", str(users), "-t", seconds, "--drain", "900s", "--warm-up", "off")


def _wall(table: str, model: str, users: int, load: Workload, seconds: str = ONE_WAVE) -> Trial:
    options = (*_prompt_options(load), *_simultaneous_users(users, seconds), "--metrics-every", "0.2s")
    return Trial(table, model, users, "memory_wall", options, SPEED)


def _caching(model: str, prompts: str, seconds: str, reply: int) -> Trial:
    load = workload.CACHED[model]
    load_options = _simultaneous_users(article.CACHING_USERS, seconds)
    options = (*_prompt_options(load), "--max-tokens", str(reply), *load_options, "--tags", prompts)
    return Trial(f"caching-{prompts}", model, article.CACHING_USERS, "cold_user", options)


def trials() -> list[Trial]:
    """Return all trials, in the article's order."""
    short = _prompt_options(workload.SHORT)
    result = [Trial("baseline", model, 1, "baseline", (*short, "--warm-up", "off")) for model in (QWEN, LLAMA)]
    for model in (QWEN, LLAMA):
        result += [Trial("sweep", model, n, "capacity", (*short, *_simultaneous_users(n, "8s"))) for n in article.SWEEP]
    result += [_wall("wall", LLAMA, users, workload.WALL) for users in article.WALL]
    result += [_wall("distinct", LLAMA, users, workload.WALL_DISTINCT) for users in article.WALL]
    # It takes a moment to send 48 prompts of 12,000 tokens; their replies take longer.
    result.append(_wall("long", QWEN, article.LONG_USERS, workload.LONG, "3s"))
    # Four waves of eight, about the article's 30 requests; Llama-2's shared run ends before Locust can stop it.
    for model, cold, warm in ((QWEN, "14s", "7s"), (LLAMA, "9s", "1s")):
        replies = workload.CACHED[model].reply, workload.CACHED_REPLY_SHARED[model]
        result += [_caching(model, "cold", cold, replies[0]), _caching(model, "warm", warm, replies[1])]
    result += [_mixed(model) for model in (QWEN, LLAMA)]
    result.append(_cold_start())
    return result


def _mixed(model: str) -> Trial:
    """`probe`'s own experiment: cold and warm users at once, evaluated in its report."""
    users = article.CACHING_USERS
    options = (*_prompt_options(workload.CACHED[model]), "--levels", str(users), "--hold", "30s", "--warm-up", "off")
    return Trial("mixed", model, users, "cold_user", options)


def _cold_start() -> Trial:
    """A server that is slow once per batch size, with a warm-up."""
    options = (*_prompt_options(workload.SHORT), "-u", "8", "-r", "8", "-t", "4s", "--drain", "900s", "--warm-up", "64")
    return Trial("warm-up", QWEN, 8, "capacity", options, SPEED, "cold-start")
