"""Honest servers of many kinds, and cheats, as a scout would see them: no network, no clock, drawn from a seed.

Every server is a small model of the time that a reply takes: the way, a queue, prefill (which a prefix cache saves),
decode, and what stands between (a proxy that collects streams, events of several tokens). Honest servers are as
unlucky, odd and terse as servers are: answers of one word, the same answer every time, wrong or missing usage, counters
that lag or count others, parameters that are ignored.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from probe_ext.inspection.scout.candidate import ANSWER_TOKENS, PAIR_TOKENS, PAIRS, REQUESTS
from probe_ext.inspection.scout.cheats import Suspicion, suspicion
from probe_ext.inspection.scout.samples import Pair, Sample
from probe_ext.inspection.scout.token_check import TokenCheck, check_tokens

_PROMPT_TOKENS = 60


@dataclass(frozen=True)
class Model:
    """One server. Seconds and tokens."""

    name: str
    way_s: float
    prefill_s: float
    """per prompt token"""
    tpot_s: float
    noise: float = 0.1
    """spread of every duration, log-normal"""
    hiccup: float = 0.0
    """share of replies that wait ten times as long for the first token"""
    busy_share: float = 0.0
    """share of replies that share the server with others and take three times as long"""
    prefix_cache: bool = False
    length: tuple[int, int] = (20, 200)
    """of answers that end by themselves"""
    obeys: bool | None = None
    """whether the engine checks parameters; then answers are as long as asked"""
    ignores_limit: int | None = None
    """a limit of its own that it uses instead of `max_tokens`"""
    same_text: bool = False
    event_tokens: int = 1
    buffered: bool = False
    streamed: bool = True
    usage: float | None = 1.0
    """counted tokens per token; None: none are counted"""
    counter: str = "own"
    """`own`, `none`, `lags`, `others` (also counts other load) or `alternates` (a replica that sees every other one)"""
    drafts: float = 1.0
    """how many times as fast an answer is typed that was given before (speculative decoding from earlier outputs)"""
    fails: float = 0.0
    hides_thinking: float = 0.0
    """tokens of thinking that are generated before an answer, but neither shown nor counted"""


@dataclass(frozen=True)
class Cheat:
    """What a cheat does to a model's replies."""

    name: str
    cached: bool = False
    typed_s: float = 0.0
    """a cache that replays slowly: seconds per token"""
    cut_to: int | None = None
    says_length: bool = False


def honest(seed: int) -> Model:
    """Draw one honest server."""
    rng = Random(f"honest/{seed}")  # noqa: S311 - a simulation
    kind = list(_KINDS)[seed % len(_KINDS)]
    base = Model(
        name=kind,
        way_s=10 ** rng.uniform(-4, -0.7),
        prefill_s=10 ** rng.uniform(-5, -1.7),
        tpot_s=10 ** rng.uniform(-3.7, -0.5),
        noise=rng.choice((0.02, 0.1, 0.3, 0.6)),
        hiccup=rng.choice((0.0, 0.0, 0.05, 0.3)),
        busy_share=rng.choice((0.0, 0.0, 0.3)),
        prefix_cache=rng.random() < 0.7,
        obeys=rng.choice((None, None, True, False)),
        counter=rng.choice(("own", "none", "lags", "others", "alternates")),
        same_text=rng.random() < 0.4,
    )
    return _KINDS[kind](base, rng)


_KINDS: dict[str, Callable[[Model, Random], Model]] = {
    "plain": lambda m, r: m,
    "one word": lambda m, r: replace(m, length=(1, r.randint(1, 3)), obeys=r.choice((None, False)), same_text=True),
    "few words": lambda m, r: replace(m, length=(2, r.randint(4, 12)), obeys=None),
    "few words, a gateway strips parameters": lambda m, r: replace(m, length=(1, 4), obeys=False),
    "always the same answer": lambda m, r: replace(m, same_text=True),
    "prefix cache, slow prefill": lambda m, r: replace(
        m, prefix_cache=True, prefill_s=r.uniform(0.01, 0.1), same_text=True, tpot_s=r.uniform(0.001, 0.02)
    ),
    "collecting proxy": lambda m, r: replace(m, buffered=True, same_text=r.random() < 0.5),
    "collecting proxy, prefix cache": lambda m, r: replace(
        m, buffered=True, prefix_cache=True, prefill_s=r.uniform(0.01, 0.1), tpot_s=0.001, same_text=True
    ),
    "several tokens an event": lambda m, r: replace(m, event_tokens=r.choice((4, 10, 32)), usage=r.choice((1.0, None))),
    "not streamed": lambda m, r: replace(m, streamed=False, same_text=True),
    "no usage": lambda m, r: replace(m, usage=None),
    "usage of nothing": lambda m, r: replace(m, usage=r.choice((0.02, 0.1, 2.0))),
    "limit of its own": lambda m, r: replace(m, ignores_limit=r.choice((5, 8, 16)), obeys=None),
    "very fast": lambda m, r: replace(m, tpot_s=r.uniform(2e-5, 4e-4), way_s=r.uniform(1e-4, 2e-3), same_text=True),
    "others on it": lambda m, r: replace(m, busy_share=0.5, noise=0.6, counter="others", same_text=True),
    "failing": lambda m, r: replace(m, fails=r.choice((0.1, 0.5, 0.9))),
    "hidden thinking": lambda m, r: replace(m, hides_thinking=r.uniform(10, 80), obeys=r.choice((None, True))),
    "drafts from earlier outputs": lambda m, r: replace(m, same_text=True, drafts=r.uniform(2, 32)),
    "one of two replicas": lambda m, r: replace(m, counter="alternates", same_text=True, noise=0.6),
}

CHEATS = (
    Cheat("cache", cached=True),
    Cheat("cache that replays ten times as fast as the model", cached=True, typed_s=-0.1),
    Cheat("first token, says length", cut_to=1, says_length=True),
    Cheat("first token, says stop", cut_to=1),
    Cheat("two tokens, says length", cut_to=2, says_length=True),
)


def telling(model: Model, counter: str = "own") -> Model:
    """Return the server as one that counts, streams and answers, so that a cheat can be seen."""
    own = {
        "counter": counter,
        "fails": 0.0,
        "obeys": True,
        "usage": 1.0,
        "hides_thinking": 0.0,
        "streamed": True,
        "buffered": False,
    }
    return replace(model, **own)  # type: ignore[arg-type]


class _Server:
    """Replies of one model, one after another."""

    def __init__(self, model: Model, cheat: Cheat | None, rng: Random) -> None:
        self._m, self._cheat, self._rng = model, cheat, rng
        self._known: dict[str, str] = {}
        self._asked = 0
        self._lag = 0.0

    def ask(self, prompt: str, asked: int) -> tuple[Sample, float | None]:
        m, rng, cheat = self._m, self._rng, self._cheat
        self._asked += 1
        if rng.random() < m.fails:
            return Sample(False, asked, None, "", None, 0.1, None, None, "503"), self._grown(0)
        again = prompt in self._known
        cached = cheat is not None and cheat.cached and again
        tokens, finish = self._length(asked)
        generated = tokens
        if cheat is not None and cheat.cut_to is not None:
            tokens = generated = cheat.cut_to
            finish = "length" if cheat.says_length else "stop"
        shown = max(0, tokens - round(m.hides_thinking * rng.lognormvariate(0, 0.3)))
        text = self._text(prompt, shown, again=again, cached=cached)
        ttft, span = self._times(tokens, again=again, cached=cached)
        sample = Sample(
            ok=bool(text),
            asked=asked,
            tokens=None if m.usage is None else max(1, round(shown * m.usage)),
            text=text,
            finish=finish,
            whole=ttft + span + m.way_s,
            ttft=(ttft + span if m.buffered else ttft) if m.streamed else None,
            span=(0.0 if m.buffered or shown <= m.event_tokens else span) if m.streamed else None,
        )
        return sample, self._grown(0 if cached else generated)

    def _length(self, asked: int) -> tuple[int, str]:
        m, rng = self._m, self._rng
        if m.obeys:
            return asked, "length"
        limit = m.ignores_limit or asked
        drawn = rng.randint(*m.length)
        return (limit, "length") if drawn >= limit else (drawn, "stop")

    def _text(self, prompt: str, shown: int, *, again: bool, cached: bool) -> str:
        if cached or (again and self._m.same_text):
            return self._known[prompt]
        text = "x" * min(3 * shown, 4000) + (str(self._rng.random()) if not self._m.same_text and shown > 3 else "")
        text = text if shown else ""
        self._known.setdefault(prompt, text)
        return text

    def _times(self, tokens: int, *, again: bool, cached: bool) -> tuple[float, float]:
        m, rng, cheat = self._m, self._rng, self._cheat
        stretch = rng.lognormvariate(0, m.noise)
        if cached and cheat is not None:
            typed = -cheat.typed_s * m.tpot_s if cheat.typed_s < 0 else cheat.typed_s
            return m.way_s + 0.001 * stretch, typed * (tokens - 1)
        others = 3.0 if rng.random() < m.busy_share else 1.0
        prefill = m.prefill_s * (2 if again and m.prefix_cache else _PROMPT_TOKENS)
        wait = m.way_s + (prefill + m.tpot_s) * stretch * others
        wait *= 10.0 if rng.random() < m.hiccup else 1.0
        steps = max(2.0, (tokens - 1) / m.drafts) if again and m.drafts > 1 else tokens - 1
        return wait, m.tpot_s * steps * rng.lognormvariate(0, m.noise) * others

    def _grown(self, generated: int) -> float | None:
        """Return what the engine's counter shows after a reply."""
        match self._m.counter:
            case "none":
                return None
            case "lags":
                shown, self._lag = self._lag, float(generated)
                return shown
            case "others":
                return generated + self._rng.randint(0, 500)
            case "alternates":
                return float(generated) if self._asked % 2 else 0.0
        return float(generated)


def look(model: Model, cheat: Cheat | None, seed: int) -> tuple[Suspicion, TokenCheck]:
    """Look at a server as a scout does: for signs of a cheat, and at its token counts."""
    server = _Server(model, cheat, Random(f"replies/{seed}"))  # noqa: S311 - a simulation
    answers = [server.ask(f"new {n}", ANSWER_TOKENS)[0] for n in range(REQUESTS)]
    primer, _ = server.ask("repeated", PAIR_TOKENS)
    pairs = []
    for n in range(PAIRS):
        prompts = [f"pair {n}", "repeated"]
        first = server.ask(prompts[n % 2], PAIR_TOKENS)
        second = server.ask(prompts[1 - n % 2], PAIR_TOKENS)
        (fresh, grown), (repeat, again) = (first, second) if n % 2 == 0 else (second, first)
        pairs.append(Pair(fresh, repeat, grown, again))
    found = suspicion(primer, pairs, answers, obeys=model.obeys, round_trip=2 * model.way_s)
    return found, check_tokens(pairs, None)


def counts_truly(model: Model) -> bool:
    """Whether the usage is the number of tokens that were generated and sent."""
    return model.usage == 1.0
