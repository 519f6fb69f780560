"""The view model: every string, number and shape that the page shows. The template only places them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.report.charts import level_chart
from probe_ext.report.charts.level_chart import Stack
from probe_ext.report.sections import pauses, provenance, time_axis
from probe_ext.report.sections.bounds import Bounds, bounds
from probe_ext.report.sections.by_reply import ByReply, by_reply
from probe_ext.report.sections.cards import Card, cards
from probe_ext.report.sections.distributions import Distributions, distributions
from probe_ext.report.sections.level_table import Table, notes, table
from probe_ext.report.sections.team import team_facts
from probe_ext.report.sections.time_axis import TimeAxis
from probe_ext.report.wording import shared_sentences
from probe_ext.report.wording.findings import Finding, read, summed
from probe_ext.report.wording.glossary import Term, terms
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.values import formats
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.plurals import cause
from probe_ext.verdict.wording import gap

Capacity = Mapping[str, Any]
"""what `capacity.json` holds"""


@dataclass(frozen=True)
class Badge:
    """Whether the run can be believed."""

    kind: str
    """`valid`, `unproven` or `invalid`"""
    sign: str
    text: str


@dataclass(frozen=True)
class Answer:
    """The sentence in parts, so that its number can stand out."""

    before: str
    number: str
    after: str
    rest: tuple[str, str, str]
    """what follows the first clause: before what broke, what broke, and behind it"""
    interval: str
    next_command: Sequence[str]
    """word by word, so that none is broken at its hyphens"""


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    badge: Badge
    facts: Sequence[str]
    answer: Answer
    doubts: Sequence[Finding]
    """what makes the run not to be believed"""
    stack: Stack
    legend: Sequence[str]
    cards: Sequence[Card]
    axis: TimeAxis | None
    silence: pauses.Silence | None
    bounds: Bounds
    team: Sequence[str]
    """how many people the capacity is enough for, and what it costs"""
    team_facts: Sequence[tuple[str, str, str]]
    """term, name and figure of each"""
    table: Table
    notes: Sequence[str]
    by_reply: ByReply | None
    spreads: Distributions | None
    findings: Sequence[Finding]
    folded: Sequence[Finding]
    """checks that passed, and those that are not settled and ask for nothing"""
    folded_says: str
    damage: Sequence[str]
    counts: str
    blocks: Sequence[provenance.Block]
    glossary: Mapping[str, Term]


def page(capacity: Capacity, evidence: Evidence, profile: SloProfile) -> Page:
    """Everything that the page shows of one judged run."""
    levels = capacity["levels"]
    no_server = provenance.why_no_server(evidence.manifest)
    found = read(capacity["findings"])
    return Page(
        title=f"{_capital(capacity['sentence'])} {provenance.model(evidence.manifest)}",
        badge=_badge(capacity["verdict"]),
        facts=provenance.facts(evidence.manifest, profile, levels),
        answer=_answer(capacity),
        doubts=[f for f in found if f.kind == "bad"],
        stack=level_chart.levels(levels, _proven(capacity)),
        legend=level_chart.legend(levels),
        cards=cards(capacity, profile),
        axis=time_axis.time_axis(levels, evidence, profile, no_server),
        silence=pauses.silence(capacity, evidence, profile),
        bounds=bounds(capacity),
        team=shared_sentences.team(capacity),
        team_facts=team_facts(capacity),
        table=table(levels, no_server),
        notes=notes(capacity),
        by_reply=by_reply(capacity),
        spreads=distributions(levels, evidence, profile),
        findings=[f for f in found if f.matters],
        folded=[f for f in found if not f.matters],
        folded_says=summed(found),
        damage=evidence.damage,
        counts=provenance.counts(evidence),
        blocks=[*provenance.blocks(evidence), provenance.profile_block(profile), provenance.FILES],
        glossary=terms(profile),
    )


def _badge(verdict: str) -> Badge:
    known = {
        "valid": ("✓", "this run can be believed"),
        "invalid": ("✗", "this run is not to be believed"),
        "unproven": ("?", "this run proves nothing yet"),
    }
    return Badge(verdict, *known[verdict])


def _answer(capacity: Capacity) -> Answer:
    """Split the sentence behind its first clause, and that around its number."""
    clause, _, rest = re.match(r"(.*?)(; |: |$)(.*)", str(capacity["sentence"]), re.DOTALL).groups()  # type: ignore[union-attr]
    if capacity["verdict"] == "invalid":
        rest = rest[max(rest.find("Taken at its word"), 0) :]
    clause = clause if clause.endswith(".") else clause + "."
    found = re.match(r"(.*?)(\d[\d,]*)(.*)", clause) if capacity["verdict"] == "valid" else None
    before, number, after = found.groups() if found else (clause, "", "")
    told = _stressed(_capital(rest), cause(capacity["breaks_first"]))
    return Answer(before, number, after, told, _interval(capacity), (capacity["next_command"] or "").split())


def _stressed(rest: str, broke: str) -> tuple[str, str, str]:
    """So that what broke first can stand out."""
    before, found, behind = rest.partition(f"{broke} broke first")
    return (before, broke, f" broke first{behind}") if found else (rest, "", "")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _proven(capacity: Capacity) -> level_chart.Marks:
    """Capacity, interval, what lies behind it, and the edge, to be marked; nothing where nothing is believed."""
    if capacity["verdict"] == "invalid":
        return level_chart.Marks()
    edge, served = capacity["edge"], capacity["served_users"]
    if served is None and capacity["climb"] is not None:
        return level_chart.Marks(interval=capacity["climb"]["bracket"], says="suggested")
    on_edge = edge["on_edge"] and edge["users"] == served and edge["kv_usage_max"] is not None
    near = f"KV {formats.percent(edge['kv_usage_max'])}: the edge" if on_edge else ""
    return level_chart.Marks(served, capacity["interval"], notes=(*_gap(capacity), near))


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
