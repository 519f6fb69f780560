"""The comparison as one offline page: its view model, and the file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from probe_ext.page.environment import environment, style
from probe_ext.report.comparison.share_chart import ShareChart, share_chart
from probe_ext.report.comparison.shown_rows import (
    QUANTITIES,
    ShownRow,
    notes,
    of_users,
    set_up_facts,
    set_up_heads,
    shown_rows,
    why_no_verdict,
)
from probe_ext.report.sections.page import Badge

TEMPLATES = Path(__file__).parent / "templates"
Aspect = Mapping[str, Any]


@dataclass(frozen=True)
class ComparisonPage:
    """Everything that the template places."""

    title: str
    badge: Badge
    sentence: str
    names: Sequence[str]
    refused: Sequence[Aspect]
    meant: Sequence[Aspect]
    nothing_meant: str
    """what to say where nothing is meant to differ"""
    nothing_decided: str
    """what to say where no figure but that of people is better or worse"""
    chart: ShareChart | None
    set_up_heads: Sequence[str]
    set_ups: Sequence[Sequence[str]]
    who: str
    people: Sequence[ShownRow]
    decided: Sequence[ShownRow]
    others: Sequence[ShownRow]
    meanings: Sequence[tuple[str, str]]
    notes: Sequence[str]


def comparison_page(comparison: Mapping[str, Any], needed_share: float) -> ComparisonPage:
    """Build the view model of `compare.json`. `needed_share`: of a person's replies that must be served."""
    rows, who = shown_rows(comparison), comparison["who"]
    about_people = [row["quantity"] == "capacity" for row in comparison["rows"]]
    others = [row for row, is_people in zip(rows, about_people, strict=True) if not is_people]
    names = [set_up["name"] for set_up in comparison["set_ups"]]
    return ComparisonPage(
        title=f"{' against '.join(names[:2])}{' and others' if len(names) > 2 else ''}",
        badge=_badge(comparison),
        sentence=comparison["sentence"],
        names=names,
        refused=comparison["must_be_equal"],
        meant=comparison["meant"],
        nothing_meant=_nothing_meant(comparison),
        nothing_decided=why_no_verdict(comparison) or "No other figure is better or worse beyond doubt.",
        chart=share_chart(comparison["set_ups"], needed_share),
        set_up_heads=set_up_heads(comparison),
        set_ups=set_up_facts(comparison),
        who=who,
        people=[row for row, is_people in zip(rows, about_people, strict=True) if is_people],
        decided=[row for row in others if row.outcome in {"better", "worse"}],
        others=[row for row in others if row.outcome not in {"better", "worse"}],
        meanings=[(of_users(one.name, who), of_users(one.meaning, who)) for one in QUANTITIES.values()],
        notes=[note for note in notes(comparison) if note != why_no_verdict(comparison)],
    )


def _nothing_meant(comparison: Mapping[str, Any]) -> str:
    besides = "Nothing besides that" if comparison["must_be_equal"] else "Nothing"
    return f"{besides}, as far as the files say: the same server, model, version and settings."


def _badge(comparison: Mapping[str, Any]) -> Badge:
    if comparison["must_be_equal"]:
        return Badge("invalid", "✗", "not comparable")
    outcomes = {row["outcome"] for row in comparison["rows"] if row["quantity"] == "capacity"}
    if outcomes and outcomes <= {"better", "worse"}:
        return Badge("valid", "✓", "difference proven")
    return Badge("unproven", "?", "undecided")


def html(page: ComparisonPage) -> str:
    """Return the page, in one file that requests nothing."""
    own = (TEMPLATES / "compare.css").read_text(encoding="utf-8")
    css = Markup(style() + own)  # noqa: S704 (our own files)
    return environment(TEMPLATES).get_template("compare.html.j2").render(page=page, style=css)
