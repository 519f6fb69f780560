"""View model of the page: every string, number and shape. The template only places them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.report.charts import level_chart
from probe_ext.report.charts.level_chart import Stack
from probe_ext.report.sections import pauses, provenance, time_axis
from probe_ext.report.sections.by_reply import ByReply, by_reply
from probe_ext.report.sections.cards import Card, cards
from probe_ext.report.sections.distributions import Distributions, distributions
from probe_ext.report.sections.level_table import Table, notes, table
from probe_ext.report.sections.limits import Limits, limits
from probe_ext.report.sections.team import team_facts
from probe_ext.report.sections.time_axis import TimeAxis
from probe_ext.report.wording import shared_sentences
from probe_ext.report.wording.findings import Finding, folded_summary, read
from probe_ext.report.wording.glossary import Term, terms
from probe_ext.report.wording.shared_sentences import USER_STATES
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.values import formats
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.plurals import capitalised, cause
from probe_ext.verdict.wording import gap
from probe_ext.verdict.wording.headline import INVALID_RESULT

Capacity = Mapping[str, Any]
"""Content of `capacity.json`."""


@dataclass(frozen=True)
class Badge:
    """The verdict."""

    kind: str
    """`valid`, `unproven` or `invalid`"""
    sign: str
    text: str


@dataclass(frozen=True)
class Answer:
    """The sentence in parts, so that its number and the first limit can be emphasised."""

    before: str
    number: str
    after: str
    rest: tuple[str, str, str]
    """what follows the first clause: before, the first limit, after"""
    interval: str
    next_command: Sequence[str]
    """word by word, so that no word is broken at a hyphen"""


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    badge: Badge
    facts: Sequence[str]
    answer: Answer
    invalid_because: Sequence[Finding]
    """findings that invalidate the run"""
    stack: Stack
    legend: Sequence[tuple[str, str]]
    """key and label of each state of a user"""
    cards: Sequence[Card]
    axis: TimeAxis | None
    silence: pauses.Silence | None
    limits: Limits
    team: Sequence[str]
    """sentences on team size and cost"""
    team_facts: Sequence[tuple[str, str, str]]
    """term, label and figure of each"""
    table: Table
    notes: Sequence[str]
    by_reply: ByReply | None
    distributions: Distributions | None
    findings: Sequence[Finding]
    folded: Sequence[Finding]
    """checks that passed, and undecided ones without advice"""
    folded_summary: str
    damage: Sequence[str]
    counts: str
    blocks: Sequence[provenance.Block]
    glossary: Mapping[str, Term]


def page(capacity: Capacity, evidence: Evidence, profile: SloProfile) -> Page:
    """Build the page of one judged run."""
    levels = capacity["levels"]
    no_server = provenance.why_no_server(evidence.manifest)
    findings = read(capacity["findings"])
    return Page(
        title=f"{capitalised(capacity['sentence'])} {provenance.model(evidence.manifest)}",
        badge=_badge(capacity["verdict"]),
        facts=provenance.facts(evidence.manifest, profile, levels),
        answer=_answer(capacity),
        invalid_because=[f for f in findings if f.kind == "bad"],
        stack=level_chart.levels(levels, _marks(capacity)),
        legend=[(state, USER_STATES[state]) for state in level_chart.legend(levels)],
        cards=cards(capacity, profile),
        axis=time_axis.time_axis(levels, evidence, profile, no_server),
        silence=pauses.silence(capacity, evidence, profile),
        limits=limits(capacity),
        team=shared_sentences.team(capacity),
        team_facts=team_facts(capacity),
        table=table(levels, no_server),
        notes=notes(capacity),
        by_reply=by_reply(capacity),
        distributions=distributions(levels, evidence, profile),
        findings=[f for f in findings if f.is_important],
        folded=[f for f in findings if not f.is_important],
        folded_summary=folded_summary(findings),
        damage=evidence.damage,
        counts=provenance.counts(evidence),
        blocks=[*provenance.blocks(evidence), provenance.profile_block(profile), provenance.FILES],
        glossary=terms(profile),
    )


def _badge(verdict: str) -> Badge:
    badges = {"valid": ("✓", "valid run"), "invalid": ("✗", "invalid run"), "unproven": ("?", "nothing proven yet")}
    return Badge(verdict, *badges[verdict])


def _answer(capacity: Capacity) -> Answer:
    """Split the sentence after its first clause, and that around its number."""
    clause, _, rest = re.match(r"(.*?)(; |: |$)(.*)", str(capacity["sentence"]), re.DOTALL).groups()  # type: ignore[union-attr]
    if capacity["verdict"] == "invalid":
        rest = rest[max(rest.find(INVALID_RESULT), 0) :]
    clause = clause if clause.endswith(".") else clause + "."
    match = re.match(r"(.*?)(\d[\d,]*)(.*)", clause) if capacity["verdict"] == "valid" else None
    before, number, after = match.groups() if match else (clause, "", "")
    emphasised = _emphasised(capitalised(rest), cause(capacity["breaks_first"]))
    return Answer(before, number, after, emphasised, _interval(capacity), (capacity["next_command"] or "").split())


def _emphasised(rest: str, first_limit: str) -> tuple[str, str, str]:
    before, found, after = rest.partition(f"{first_limit} broke first")
    return (before, first_limit, f" broke first{after}") if found else (rest, "", "")


def _marks(capacity: Capacity) -> level_chart.Marks:
    """Return what the chart marks: capacity, interval, and notes on what follows; nothing for an invalid run."""
    if capacity["verdict"] == "invalid":
        return level_chart.Marks()
    headroom, served = capacity["kv_headroom"], capacity["served_users"]
    if served is None and capacity["ramp"] is not None:
        return level_chart.Marks(interval=capacity["ramp"]["bracket"], interval_label="suggested")
    near = headroom["near_saturation"] and headroom["users"] == served and headroom["kv_usage_max"] is not None
    note = f"KV cache {formats.percent(headroom['kv_usage_max'])} full" if near else ""
    return level_chart.Marks(served, capacity["interval"], notes=(*_gap(capacity), note))


def _interval(capacity: Capacity) -> str:
    low, high = capacity["interval"] or (None, None)
    if low is None or capacity["verdict"] == "invalid":
        return ""
    if high is None:
        return f"95 % interval: {formats.count(low)} or more"
    return f"95 % interval: {formats.count(low)} to {formats.count(high)}"


def _gap(capacity: Capacity) -> tuple[str, ...]:
    held, failed = capacity["bracket"] or (None, None)
    if not held or failed is None:
        return ()
    measured = {level["users"] for level in capacity["levels"] if not level["band"]}
    return gap.labels(gap.gap(held, failed, measured))
