"""View model of the page: every string, number and shape. The template only places them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from probe_ext.report.charts import level_chart
from probe_ext.report.charts.level_chart import Stack
from probe_ext.report.sections import pauses, provenance, time_axis
from probe_ext.report.sections.by_reply import ByReply, by_reply
from probe_ext.report.sections.cards import Card, cards
from probe_ext.report.sections.distributions import Distributions, distributions
from probe_ext.report.sections.level_table import Table, figures_table, notes, results_table
from probe_ext.report.sections.limits import Limits, limits
from probe_ext.report.sections.optional.gpu import GpuSection, gpu_section
from probe_ext.report.sections.optional.kinds import Kinds, kinds_section
from probe_ext.report.sections.optional.noted_table import NotedTable
from probe_ext.report.sections.optional.prompt_lengths import prompt_lengths
from probe_ext.report.sections.optional.rolling import RollingSection, rolling_lanes, rolling_section
from probe_ext.report.sections.optional.team import team_facts
from probe_ext.report.sections.optional.trace_figures import trace_facts
from probe_ext.report.sections.optional.visit_table import short_visits
from probe_ext.report.sections.time_axis import TimeAxis
from probe_ext.report.wording import answer_context, shared_sentences
from probe_ext.report.wording.glossary import Term, terms
from probe_ext.report.wording.level_names import label
from probe_ext.report.wording.shown_findings import ShownFinding, folded_summary, read, trust
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import search_of
from probe_ext.verdict.judge import NOTHING_GIVEN
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import RATE_UNIT, capitalised, things
from probe_ext.verdict.results.team_size import Given
from probe_ext.verdict.values.answer import Answer as Said

Capacity = Mapping[str, Any]
"""Content of `capacity.json`."""


@dataclass(frozen=True)
class Badge:
    """What came out, in a word."""

    kind: str
    """`valid`, `unproven` or `invalid`"""
    sign: str
    text: str


@dataclass(frozen=True)
class Answer:
    """The sentence in parts, so that its number can be emphasised."""

    before: str
    number: str
    """empty where nothing is proven"""
    after: str
    rest: str
    """all further sentences"""
    meaning: str
    """what the number counts"""


@dataclass(frozen=True)
class TeamSentence:
    """A sentence on team size or cost, and the command that it ends in."""

    text: str
    command: Sequence[str]
    """word by word; empty where there is none"""


@dataclass(frozen=True)
class Next:
    """What to run next."""

    purpose: str
    command: Sequence[str]
    """word by word, so that no word is broken at a hyphen"""
    where: str
    """on which machine, if not on the one of this run; empty otherwise"""


@dataclass(frozen=True)
class Change:
    """What limits the server, and what to change."""

    title: str
    sentence: str
    advice: str
    """empty where nothing is known to help"""


@dataclass(frozen=True)
class LoadNames:
    """What the levels hold, in words."""

    by_rate: bool
    term: str
    unit: str
    axis: str
    levels: str


_BY_USERS = LoadNames(False, "users", "users", "concurrent users", "number of users")
_BY_RATE = LoadNames(True, "rate", RATE_UNIT, "requests per second", "rate of requests")


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    sentence: str
    """the whole answer"""
    load: LoadNames
    badge: Badge
    facts: Sequence[str]
    answer: Answer
    interval: str
    invalid_because: Sequence[ShownFinding]
    """findings that invalidate the run, without those that the answer says already"""
    doubts: Sequence[tuple[str, str]]
    """title and meaning of what makes the answer doubtful"""
    stack: Stack
    picture_notes: Sequence[str]
    bars_note: str
    """what the bars show, where the answer does not go by all replies together; empty otherwise"""
    trust: str
    """whether the run can be trusted"""
    next: Next | None
    cards: Sequence[Card]
    kinds: Kinds | None
    axis: TimeAxis | None
    rolling: RollingSection | None
    silence: pauses.Silence | None
    limits: Limits
    team: Sequence[TeamSentence]
    team_facts: Sequence[tuple[str, str, str]]
    trace: str
    """what was replayed, in words; empty without a trace"""
    trace_facts: Sequence[tuple[str, str]]
    """term, label and figure of each"""
    gpu: GpuSection | None
    results: Table
    figures: Table
    notes: Sequence[str]
    by_reply: ByReply | None
    prompt_lengths: NotedTable | None
    short_visits: NotedTable | None
    distributions: Distributions | None
    findings: Sequence[ShownFinding]
    folded: Sequence[ShownFinding]
    """checks that passed, and undecided ones without advice"""
    folded_summary: str
    damage: Sequence[str]
    counts: str
    blocks: Sequence[provenance.Block]
    glossary: Mapping[str, Term]

    @property
    def change(self) -> Change:
        """The first limit that holds, with its advice; an invalid run gives none."""
        first = next((limit for limit in self.limits.holds if limit.kind != "good"), None)
        if first is None or self.badge.kind == "invalid" or not first.advice:
            return Change("What limits the server", self.limits.sentence, "")
        return Change("What to change", self.limits.sentence, first.advice)

    @property
    def contents(self) -> list[tuple[str, str]]:
        """Id and title of each section that the page has."""
        sections = [
            ("h-q", "Capacity by dimension", True),
            ("h-k", self.kinds.title if self.kinds else "", self.kinds),
            ("h-b", "What limits the server", True),
            ("h-team", "Team size and cost", self.team_facts),
            ("h-trace", "Replayed trace", self.trace),
            ("h-gpu", "GPU and energy", self.gpu),
            ("h-t", "Timeline", self.axis),
            ("h-r", self.rolling.title if self.rolling else "", self.rolling),
            ("h-p", "Silent pauses and preemptions", self.silence),
            ("levels", "Level by level", True),
            ("h-s", "Inter-token latency", self.distributions),
            ("h-f", "Checks and advice", True),
            ("h-h", "Configuration of the run", True),
            ("h-files", "Files", True),
            ("h-g", "Glossary", True),
        ]
        return [(key, title) for key, title, shown in sections if shown]


def _resolved(capacity: Capacity) -> bool:
    return not any(one["check"] == "unresolved_reads" and one["state"] == "fail" for one in capacity["findings"])


def page(
    capacity: Capacity,
    evidence: Evidence,
    profile: SloProfile,
    given: Given = NOTHING_GIVEN,
    files: Collection[str] = (),
    directory: str = "",
) -> Page:
    """Build the page of one judged run. `files`: names of the files beside it, which it links to; in `directory`."""
    levels = capacity["levels"]
    no_server = provenance.why_no_server(evidence.manifest)
    profiles = answer_context.used_profiles(capacity, profile)
    findings, shown = read(capacity["findings"]), _answer(capacity)
    return Page(
        title=f"{capitalised(capacity['sentence'])} {provenance.model(evidence.manifest)}",
        sentence=capitalised(capacity["sentence"]),
        load=_BY_RATE if capacity["load"] == "rate" else _BY_USERS,
        badge=badge(capacity["verdict"]),
        facts=provenance.facts(evidence.manifest, profiles, levels),
        answer=shown,
        interval=answer_context.interval(capacity),
        invalid_because=[f for f in findings if f.kind == "bad" and not _is_said(f, shown.before)],
        doubts=answer_context.doubts(capacity),
        stack=level_chart.levels(levels, max(one.users.served_share for one in profiles), _marks(capacity)),
        picture_notes=[note for note in _picture_notes(capacity) if note],
        bars_note=_bars_note(capacity),
        trust=trust(findings),
        next=_next(capacity, evidence.manifest) if capacity["next_command"] else None,
        cards=cards(capacity, profiles),
        kinds=kinds_section(capacity),
        axis=time_axis.time_axis(levels, evidence, profile, no_server, partial(rolling_lanes, capacity)),
        rolling=rolling_section(capacity),
        silence=pauses.silence(capacity, evidence, profile),
        limits=limits(capacity),
        team=_team(capacity, given),
        team_facts=team_facts(capacity),
        trace=capacity["trace"]["sentence"] if capacity["trace"] else "",
        trace_facts=trace_facts(capacity),
        gpu=gpu_section(capacity),
        results=results_table(levels),
        figures=figures_table(levels, no_server),
        notes=notes(capacity),
        by_reply=by_reply(capacity),
        prompt_lengths=prompt_lengths(capacity),
        short_visits=short_visits(capacity),
        distributions=distributions(levels, evidence, profile, resolved=_resolved(capacity)),
        findings=[f for f in findings if f.is_important],
        folded=[f for f in findings if not f.is_important],
        folded_summary=folded_summary(findings),
        damage=evidence.damage,
        counts=provenance.counts(evidence),
        blocks=[
            *provenance.blocks(evidence, directory),
            *map(provenance.profile_block, profiles),
            provenance.files(files),
        ],
        glossary=terms(profile, capacity["think_time"], capacity["who"]),
    )


def _team(capacity: Capacity, given: Given) -> list[TeamSentence]:
    sentences = [*shared_sentences.measured_team(capacity), *shared_sentences.team(capacity, given)]
    parts = [shared_sentences.split_command(sentence, capacity) for sentence in sentences]
    return [TeamSentence(text.rstrip(), command.split()) for text, command in parts]


def _next(capacity: Capacity, manifest: Mapping[str, Any]) -> Next:
    purpose = answer_context.purpose(capacity, searched=bool(search_of(manifest)))
    return Next(purpose, capacity["next_command"].split(), answer_context.another_machine_advice(capacity))


def badge(verdict: str) -> Badge:
    """Return what the top of a page says of a run."""
    badges = {"valid": ("✓", "valid run"), "invalid": ("✗", "invalid run"), "unproven": ("?", "capacity not proven")}
    return Badge(verdict, *badges[verdict])


def _is_said(finding: ShownFinding, sentence: str) -> bool:
    """Tell whether a sentence has all of a finding: what happened, and what helps."""
    return all(text.rstrip(".") in sentence for text in (finding.title, finding.why, finding.advice))


def _answer(capacity: Capacity) -> Answer:
    """Return the answer without its interval, which has a line of its own, as have the reasons of an invalid run."""
    told = Said(**capacity["answer"])
    if told.invalid:
        return Answer(f"Invalid measurement: {told.invalid}.", "", "", f"Reported result: {told.reported}", "")
    number = told.number if capacity["served_users"] else ""
    what = "requests per second" if capacity["load"] == "rate" else f"concurrent {_users(capacity)}"
    meaning = f"{what} that meet {_slo(capacity)}{_pausing(capacity)}" if number else ""
    if not number:
        return Answer(" ".join(filter(None, (told.opening, told.number, told.after))) + ".", "", "", told.rest, "")
    return Answer(f"{told.opening} ".lstrip(), number, f" {told.after}.", told.rest, meaning)


def _users(capacity: Capacity) -> str:
    return "agents" if capacity["who"] == "agents" else "users"


def _pausing(capacity: Capacity) -> str:
    """Say what the number counts where users do not ask again at once."""
    paused = capacity["think_time"]
    if paused is None:
        return ""
    share = formats.percent(paused["waiting_share"])
    if capacity["who"] == "agents":
        return f"; about {share} of them wait for a reply at any time, and the others for their tools"
    return f", each pausing {formats.seconds(paused['mean'])} on average; about {share} of them have a reply in flight"


def _slo(capacity: Capacity) -> str:
    by_kind = answer_context.kinds_are_users(capacity)
    return "the SLO of their kind" if by_kind else f"the SLO profile {capacity['profile']['name']}"


def _marks(capacity: Capacity) -> level_chart.Marks:
    """Return what the chart marks: the answer, its interval, and where the fit crosses; nothing for an invalid run."""
    if capacity["verdict"] == "invalid":
        return level_chart.Marks()
    users, text = answer_context.mark(capacity) or (None, "")
    interval = answer_context.shown_interval(capacity)
    return level_chart.Marks(users, text, interval, answer_context.interval_label(capacity), capacity["estimate"])


def _picture_notes(capacity: Capacity) -> list[str]:
    by_kind = "A number of users holds if it holds for every kind of user." if _has_kinds(capacity) else ""
    return [answer_context.proven(capacity), _band_note(capacity), by_kind, _cache_note(capacity)]


def _bars_note(capacity: Capacity) -> str:
    return (
        "Bars show all replies together; the fit shows the kind that is served least." if _has_kinds(capacity) else ""
    )


def _has_kinds(capacity: Capacity) -> bool:
    return bool(capacity["levels"]) and answer_context.kinds_are_users(capacity)


def _band_note(capacity: Capacity) -> str:
    """Explain the numbers that stand for bands of a ramp."""
    bands = [level for level in capacity["levels"] if level["users_low"] != level["users_high"]]
    if not bands:
        return ""
    band = next((level for level in bands if level["users"] == capacity["bracket"][1]), bands[0])
    middle = f"{formats.count(band['users'])} stands for {label(band)}"
    return f"The number of users kept changing, so each level is a band, elsewhere named by its middle: {middle}."


def _cache_note(capacity: Capacity) -> str:
    headroom = capacity["kv_headroom"]
    if not headroom["near_saturation"] or headroom["kv_usage_max"] is None:
        return ""
    users = things(headroom["users"], "user")
    return f"At {users}, the KV cache was {formats.percent(headroom['kv_usage_max'])} full."
