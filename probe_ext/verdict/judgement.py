"""What the verdict says, as values; `Judgement.to_json()` is `capacity.json` (its schema: `capacity.schema.json`).

Seconds, tokens a second, fractions of one. None is missing, never zero.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from probe_ext.verdict.diagnosed import Diagnosis, Edge

SCHEMA = 1
"""of capacity.json"""

State = Literal["held", "failed", "unproven"]
CheckState = Literal["pass", "fail", "unproven"]
DECIMALS = 6


@dataclass(frozen=True)
class Finding:
    """One check of whether, and how far, the run can be believed."""

    check: str
    state: CheckState
    invalidates: bool
    """whether its failing makes the whole verdict invalid; else it warns"""
    why: str
    advice: str = ""

    @property
    def spoils(self) -> bool:
        """Whether it makes this verdict invalid."""
        return self.state == "fail" and self.invalidates


@dataclass(frozen=True)
class ReplyFigures:
    """What a level's replies looked like from the outside."""

    ttft_p50: float | None = None
    """seconds from `sent` to the first token event, of replies that had one"""
    ttft_p95: float | None = None
    ttft_p99: float | None = None
    ttft_visible_p95: float | None = None
    """the same to the first token outside reasoning"""
    first_word_p50: float | None = None
    """seconds that users waited for a first word, as the profile counts it"""
    first_word_p95: float | None = None
    decode_rate_p50: float | None = None
    """tokens a second of one reply, 1/TPOT, of replies that have a typing speed"""
    decode_rate_p05: float | None = None
    longest_gap_p95: float | None = None
    """seconds; over the replies' longest gaps"""
    longest_gap_max: float | None = None
    tokens_out_p50: float | None = None
    total_tokens_per_s: float | None = None
    """tokens whose event fell in the measured part, over its length"""
    slo_attainment: float | None = None
    """served of judged replies, failures in the denominator (DistServe, OSDI 2024)"""
    goodput_rps: float | None = None
    """served replies sent in the measured part, over its length (DistServe; `--goodput` of vLLM's benchmark)"""
    fluidity_index: float | None = None
    """met part of all tokens' deadlines (Etalon, arXiv:2407.07000; `measure.deadlines`), by the run's own profile"""
    fluid_share: float | None = None
    """part of the replies with deadlines whose own index is at least FLUID"""


@dataclass(frozen=True)
class ServerFigures:
    """What the server said of itself in a level's measured part."""

    kv_usage_max: float | None = None
    """fraction of the KV cache, of the fullest engine"""
    preemptions: int | None = None
    """charged to where the server's queue grew (see `evictions`)"""
    preemptions_unsure: int | None = None
    """of them, those whose beginning or end may lie outside the level"""
    waiting_max: float | None = None
    running_max: float | None = None


@dataclass(frozen=True)
class LevelResult:
    """One level, or one band of a climb."""

    users: int
    users_low: int
    users_high: int
    band: bool
    t_start: float
    t_end: float
    state: State
    appears: State
    """what the state would be if a band could prove anything; else the same as `state`"""
    why: tuple[str, ...]
    """dimensions that cost people here, the worst first; empty where everybody is served"""
    served_share: float | None
    served_share_low: float | None
    served_share_high: float | None
    served_share_fit: float | None
    """by a fit that never rises with the users"""
    users_served: int
    users_strained: int
    users_broken: int
    users_undecided: int
    users_unheard: int
    replies: int
    """sent in the measured part"""
    replies_served: int
    replies_strained: int
    replies_broken: int
    replies_open: int
    """ended by us, or by our fault, before anything was decided"""
    replies_needed: int | None
    """about how many more would settle an unproven level"""
    outcomes: dict[str, int] = field(default_factory=dict)
    figures: ReplyFigures = ReplyFigures()
    server: ServerFigures = ServerFigures()

    def to_json(self) -> dict[str, Any]:
        """Flat, as in `capacity.json`."""
        flat = {key: value for key, value in asdict(self).items() if key not in {"figures", "server"}}
        return {**flat, **asdict(self.figures), **asdict(self.server)}


@dataclass(frozen=True)
class QuestionLevel:
    """One level judged by one dimension alone."""

    users: int
    band: bool
    state: State
    served_share: float | None
    users_served: int
    users_heard: int


@dataclass(frozen=True)
class Question:
    """How far one dimension holds by itself."""

    dimension: str
    served_users: int | None
    """0 where the lowest level fails; None where nothing is proven"""
    bracket: tuple[int | None, int | None]
    levels: tuple[QuestionLevel, ...]


@dataclass(frozen=True)
class ColdUser:
    """The gap between users whose prompt the server has in its cache, and those it has not."""

    measured: bool
    how: str
    """how it was measured; or that it was not, and what to run"""
    cold_p50: float | None = None
    """seconds until the first word, as the profile counts it; None where most never had one"""
    warm_p50: float | None = None
    ratio: float | None = None
    """cold to warm"""
    ratio_low: float | None = None
    ratio_high: float | None = None
    served: bool | None = None
    """whether the cold p50 is within the profile's bound for the first word"""
    cold_replies: int | None = None
    warm_replies: int | None = None
    hit_rate: float | None = None
    """of all prompt tokens of the run"""
    hit_rate_from: str | None = None
    """`server`: its counters; `client`: what its replies say; None: not known"""
    cold_cached: float | None = None
    """share of the arm's prompt tokens that came from the cache, as its replies say"""
    warm_cached: float | None = None
    cold_tokens_out: float | None = None
    """tokens of a reply, mean"""
    warm_tokens_out: float | None = None


@dataclass(frozen=True)
class Overlap:
    """How many spans of time meet a bracket of another series, and how many would by chance (see `overlap`)."""

    seen: int
    chance: float
    """mean over random rotations"""
    chance_low: float
    """95 % of the rotations lie between"""
    chance_high: float

    @property
    def beyond(self) -> bool:
        """Whether it is more than chance explains."""
        return self.seen > self.chance_high


@dataclass(frozen=True)
class Pauses:
    """The silent pauses of the whole run, and what the server's samples show of them (see `pauses`)."""

    threshold: float
    """seconds"""
    count: int
    replies: int
    """with at least one"""
    seconds: float
    """all together"""
    longest: float | None
    clients_cut: int
    """of 30 s or more: an ordinary client would have given up"""
    watched: int
    """during which the preemption counter was read throughout"""
    preemptions: int | None
    """counted in the whole run; None where the server does not tell"""
    meets_preemption: Overlap | None
    ends_with_preemption: Overlap | None
    starts_as_queue_grows: Overlap | None
    kv_usage_p50: float | None
    """over the pauses: the highest use of the KV cache during each"""
    waiting_p50: float | None
    says: str


@dataclass(frozen=True)
class Goodput:
    """The highest rate of requests at which enough of them are served, as DistServe (OSDI 2024) defines goodput."""

    goal: float
    """SLO attainment that is asked for"""
    users: int
    replies_per_s: float
    """judged replies of that level, over its length"""


@dataclass(frozen=True)
class Team:
    """How many people a capacity is enough for, who read and think between two questions (see `team`)."""

    think_time: float
    """seconds, as it was given"""
    reply_seconds: float
    """from asking to a whole reply's end, mean at the capacity"""
    in_flight: float
    """replies at the capacity, mean over time"""
    waiting_share: float
    """of a person's time, spent on waiting for a reply and seeing it come"""
    people: int
    """so that as many are in flight on average"""
    people_low: int
    """by the capacity's interval"""
    people_high: int | None
    people_19_of_20: int
    """so that no more are in flight in 95 % of the time"""
    says: str


@dataclass(frozen=True)
class Cost:
    """What an hour's price comes to at the capacity; in the currency of the price."""

    price_per_hour: float
    """as it was given"""
    per_user_hour: float
    """for each person served at once"""
    per_person_hour: float | None
    """for each member of the team; None without a think time"""
    per_million_tokens: float | None
    """of answers, all users together"""
    per_token_per_s: float | None
    """price an hour of each token a second"""
    says: str


@dataclass(frozen=True)
class Mode:
    """The answer with reasoning shown, or hidden."""

    served_users: int | None
    bracket: tuple[int | None, int | None]
    breaks_first: str | None


@dataclass(frozen=True)
class Climb:
    """What bands of a climb suggest; no proof."""

    bracket: tuple[int | None, int | None]
    """the lowest count of the highest band that seemed to hold, the highest of the first that seemed to fail"""


@dataclass(frozen=True)
class Judgement:
    """The verdict."""

    verdict: Literal["valid", "invalid", "unproven"]
    sentence: str
    served_users: int | None
    interval: tuple[int, int | None] | None
    bracket: tuple[int | None, int | None]
    breaks_first: str | None
    levels: tuple[LevelResult, ...]
    questions: tuple[Question, ...]
    cold_user: ColdUser
    pauses: Pauses
    goodput: Goodput | None
    """None where no level attains as much"""
    team: Team | None
    """None where no think time was given, or nothing is proven; `cost` so without a price"""
    cost: Cost | None
    climb: Climb | None
    next_command: str | None
    """what to run to prove, or to narrow, the answer"""
    reasoning: str
    modes: dict[str, Mode]
    profile: dict[str, Any]
    findings: tuple[Finding, ...]
    diagnosis: Diagnosis
    edge: Edge
    replies: int
    replies_outside: int
    """sent in no level: while the count changed or settled"""

    def to_json(self) -> dict[str, Any]:
        """`capacity.json`: plain types, rounded to a millionth, no NaN."""
        plain = {
            "schema": SCHEMA,
            **{key: value for key, value in asdict(self).items() if key not in {"levels", "questions", "modes"}},
            "levels": [level.to_json() for level in self.levels],
            "questions": {question.dimension: _without(asdict(question), "dimension") for question in self.questions},
            "reasoning": {"judged": self.reasoning, **{name: asdict(mode) for name, mode in self.modes.items()}},
        }
        return {key: _plain(value) for key, value in plain.items()}


def _without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in mapping.items() if k != key}


def _plain(value: Any) -> Any:
    """Lists for tuples, None for what is no number."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, DECIMALS) if math.isfinite(value) else None
    return value
