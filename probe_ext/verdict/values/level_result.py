"""Result of one level: how many users were served, what its replies looked like, what the server reported meanwhile.

At the lowest level also: how the wait for the first token depends on the length of the prompt.
"""

from dataclasses import dataclass, field
from typing import Annotated

from probe_ext.verdict.values.capacity_estimate import Reason, UserGroup
from probe_ext.verdict.values.json_types import Amount, Count, Dimension, Fraction, Limits, Load, State, Users
from probe_ext.verdict.values.others_share import OthersShare


@dataclass(frozen=True, kw_only=True)
class LevelOutcome:
    """How many users and replies of a level were served, strained or broken."""

    users: Users
    """number of users; for a band of a ramp, the middle of it; null in a run with an open stream"""
    users_low: Users
    users_high: Users
    band: bool
    """true for a band of a ramp: a stretch of nearly constant users"""
    t_start: float
    """start of the measured part, seconds of the run"""
    t_end: float
    """end of the measured part, seconds of the run"""
    state: State
    """of this number of users, all its levels together"""
    reasons: tuple[Reason, ...]
    """why it is unproven; empty otherwise"""
    why: Annotated[tuple[Dimension, ...], Limits(unique_items=True)]
    """dimensions that cost replies here, the worst first; empty where every reply was served"""
    served_share: Fraction | None
    """served over judged replies of this number of users, all its levels together"""
    served_share_low: Fraction | None
    """lower end of its 95 % interval"""
    served_share_high: Fraction | None
    served_share_fit: Fraction | None
    """served share by a fit that never rises with the number of users"""
    broken_share: Fraction | None
    broken_share_high: Fraction | None
    """upper end of the interval of the broken share"""
    worse_group: UserGroup | None
    """users who are served less often than the others, where users differ"""
    replies: Count
    """replies sent in the measured part"""
    replies_judged: Count
    """how many of them the shares and figures are of: without those sent too late in it to be seen served, and those
    that failed for a reason that is not the server's load"""
    replies_served: Count
    replies_strained: Count
    replies_broken: Count
    replies_open: Count
    """judged replies that had passed no bound when the level or the run ended; they count as served"""
    replies_needed: Count | None
    """about how many more replies would settle an unproven level; null where it is settled or too close to tell"""
    seconds_needed: Amount | None
    """the same as time, at the level's rate of replies"""
    outcomes: dict[str, Count] = field(default_factory=dict)
    """number of judged replies by outcome"""


@dataclass(frozen=True, kw_only=True)
class ReplyFigures:
    """What clients saw of a level's judged replies."""

    ttft_p50: float | None = None
    """seconds from `sent` to the first token event, over replies that had one"""
    ttft_p95: float | None = None
    ttft_p99: float | None = None
    ttft_visible_p95: float | None = None
    """the same, to the first token outside reasoning"""
    server_ttft_p50: float | None = None
    """the same from arrival at the server, as it measured itself for each of these replies"""
    way_p50: float | None = None
    """median of what each TTFT is longer here than at the server: the way between them, and what stands on it"""
    first_word_p50: float | None = None
    """seconds that users waited for the first word, counted as the profile says"""
    first_word_p95: float | None = None
    decode_rate_p50: float | None = None
    """tokens per second of one reply (1/TPOT), over replies that have a typing speed"""
    decode_rate_p05: float | None = None
    longest_gap_p95: float | None = None
    """seconds, over the longest gap of each reply"""
    longest_gap_max: float | None = None
    tokens_out_p50: float | None = None
    total_tokens_per_s: float | None = None
    """tokens that arrived in the measured part, per second, all users together"""
    slo_attainment: Fraction | None = None
    """served replies over judged replies of this visit, failures included (DistServe, OSDI 2024)"""
    goodput_rps: float | None = None
    """served replies per second (DistServe; `--goodput` of vLLM's benchmark)"""
    fluidity_index: Fraction | None = None
    """share of token deadlines met, by the run's own profile (Etalon, arXiv:2407.07000)"""
    fluid_share: Fraction | None = None
    """share of replies whose own fluidity index is at least 0.9"""


@dataclass(frozen=True, kw_only=True)
class ServerFigures:
    """What the server reported in a level's measured part."""

    kv_usage_max: float | None = None
    """fraction of the KV cache, of the fullest engine"""
    preemptions: Count | None = None
    """attributed to the level in which the server's queue grew"""
    preemptions_unsure: Count | None = None
    """how many of them may have begun or ended outside the level"""
    waiting_max: float | None = None
    running_max: float | None = None
    others: OthersShare | None = None
    """what the server did for others; null where its counters do not tell"""

    @property
    def judged(self) -> bool:
        """Whether its replies reflect this run's load, and not that of others."""
        return self.others is None or not self.others.too_much


@dataclass(frozen=True, kw_only=True)
class StreamFigures:
    """How an open stream fared in a level; all null where users wait for replies."""

    rate: Amount | None = None
    """requests per second that arrived by the schedule"""
    sent_rate: Amount | None = None
    """requests per second that were sent in the measured part"""
    delayed: Count | None = None
    """arrivals that had to wait for a free connection (--max-in-flight), those that were not sent included"""
    unsent: Count | None = None
    """arrivals that found none in time and were not sent"""


@dataclass(frozen=True, kw_only=True)
class LevelResult(StreamFigures, ServerFigures, ReplyFigures, LevelOutcome):
    """One level, or one band of a ramp."""


@dataclass(frozen=True)
class ShortVisit:
    """A visit that a search left for more users before it measured anything: it is no level, and proves nothing."""

    users: Users
    t_start: float
    """when all of them were there, seconds of the run"""
    t_end: float
    """when the search went on"""
    replies: Count
    """replies sent in it"""
    replies_observed: Count
    """how many of them had a first word by its end, or had passed a bound"""
    replies_within_bounds: Count
    """how many of these had passed no bound"""
    first_word_p50: Amount | None
    """median seconds until the first word, of replies that had one by its end"""


@dataclass(frozen=True)
class LengthClass:
    """Replies to prompts of about one length. Null: not known."""

    tokens_from: Count
    tokens_to: Count
    """shortest and longest prompt of the class, in the server's tokens"""
    replies: Count
    ttft_p50: Amount
    ttft_p95: Amount | None
    """null with fewer than 20 replies"""
    cached_share: Fraction | None
    """share of the prompts' tokens that the server found in its prefix cache"""


@dataclass(frozen=True)
class TtftByLength:
    """TTFT by prompt length, at the level with the fewest users, where prompts wait for each other least."""

    users: Load
    classes: tuple[LengthClass, ...]
