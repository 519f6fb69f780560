"""The verdict as `summary.md` for pull requests and `junit.xml` for CI."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.compare.gate_tests import GateTest
from probe_ext.report.outputs.asked_gates import outcome_of
from probe_ext.report.outputs.gate import Gate
from probe_ext.report.sections.level_table import Table
from probe_ext.report.sections.optional.kinds import KindTable, proven_users
from probe_ext.report.sections.page import Page
from probe_ext.report.wording.level_names import by_number, users_label, without_visit
from probe_ext.report.wording.shared_sentences import STATE_WORDS, extra_sentences, split_command
from probe_ext.report.wording.shown_findings import read
from probe_ext.verdict.judge import NOTHING_GIVEN
from probe_ext.verdict.phrasing.plurals import cause, listed, things
from probe_ext.verdict.results.team_size import Given
from probe_ext.verdict.wording.unproven_level import reason_in_words

_GATE_SIGNS = {"passed": "✅", "failed": "❌", "unproven": "❔"}
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&])")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def summary(
    page: Page,
    capacity: Mapping[str, Any],
    gate: Gate | None,
    given: Given = NOTHING_GIVEN,
    tests: Sequence[GateTest] = (),
) -> str:
    """Return Markdown: the gates and the answer, the levels, the findings."""
    lines = [_heading(capacity, gate, tests), "", " · ".join(markdown(fact) for fact in page.facts)]
    if gate:
        lines += ["", f"**{_GATE_SIGNS[gate.outcome]} {markdown(gate.sentence)}**"]
    for test in tests:
        lines += ["", f"**{_GATE_SIGNS[test.outcome]} {markdown(test.sentence)}**"]
    interval_is_said = f"(95 %: {page.interval.partition(': ')[2]})" in page.sentence
    known = [*([f"{page.interval}."] if page.interval and not interval_is_said else []), *page.picture_notes]
    lines += ["", markdown(" ".join(known))] if known else []
    for title, meaning in page.doubts:
        lines += ["", f"**! {markdown(title)}** {markdown(meaning)}"]
    for sentence in extra_sentences(capacity, given):
        text, command = split_command(sentence, capacity)
        lines += ["", f"{markdown(text)} {_code(command)}" if command else markdown(text)]
    if page.next:
        lines += ["", f"{markdown(page.next.purpose)}: {_code(' '.join(page.next.command))}"]
    if page.kinds:
        lines += ["", *_kinds(page.kinds.results)]
    for table in (page.results, page.figures):
        if table.rows:
            lines += ["", *_levels(table)]
    findings = (f"- {f.sign} **{markdown(f.title)}** {markdown(f'{f.why} {f.advice}')}" for f in page.findings)
    lines += ["", *(line.rstrip() for line in findings)]
    lines += [f"- ! {markdown(line)}" for line in page.damage]
    return "\n".join(lines).rstrip() + "\n"


def _heading(capacity: Mapping[str, Any], gate: Gate | None, tests: Sequence[GateTest]) -> str:
    """Return the first line: of a gate, whether it passed; a check mark only where something is proven."""
    sentence = markdown(capacity["sentence"])
    outcome = outcome_of(gate, tests)
    if outcome is not None:
        asked = [(f"at least {things(gate.users, 'user')} served", gate.outcome)] if gate else []
        asked += [(test.name, test.outcome) for test in tests]
        names = [markdown(name) for name, one in asked if one == outcome]
        what = listed(names, 3) if outcome != "passed" or len(asked) == 1 else things(len(asked), "test")
        return f"### {_GATE_SIGNS[outcome]} Gate {outcome} ({what}): {sentence}"
    if capacity["verdict"] == "unproven":
        return f"### ❔ {sentence}"
    return f"### {'✅' if capacity['verdict'] == 'valid' and capacity['served_users'] else '❌'} {sentence}"


def markdown(text: str) -> str:
    """Escape text for Markdown, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))


def _code(text: str) -> str:
    """Return text as code, which a mark within it does not end."""
    marks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{marks} {text} {marks}" if len(marks) > 1 else f"`{text}`"


def _levels(table: Table) -> list[str]:
    heads = [" ".join(filter(None, [column.head, column.unit])) for column in table.columns]
    rows = [[row.head, *(cell.text for cell in row.cells)] for row in table.rows]
    ruled = "|".join("---:" for _ in heads)
    return [f"|{'|'.join(heads)}|", f"|{ruled}|", *(f"|{'|'.join(row)}|" for row in rows)]


def _kinds(table: KindTable) -> list[str]:
    heads = [head for _, head in table.heads]
    rows = [[markdown(cell) for cell in row.texts] for row in table.rows]
    return [f"|{'|'.join(heads)}|", f"|:--|{'|'.join('---:' for _ in heads[1:])}|", *(f"|{'|'.join(r)}|" for r in rows)]


def junit(capacity: Mapping[str, Any], gate: Gate | None, tests: Sequence[GateTest] = ()) -> str:
    """Return JUnit XML with one test case for the run's validity, one per number of users and kind, one for each gate.

    The case of a level or a kind of user fails only if the gate requires that many users: a sweep is meant to find a
    number that fails.
    """
    suite = ET.Element("testsuite", name="probe")
    invalidating = [finding for finding in read(capacity["findings"]) if finding.kind == "bad"]
    reasons = "; ".join(f"{f.check}: {f.title} {f.why} {f.advice}".rstrip() for f in invalidating)
    _case(suite, "the run is valid", reasons or None)
    for visits in by_number(capacity["levels"]):
        _level(suite, visits, gate.users if gate else 0)
    for kind in capacity["kinds"]:
        _kind(suite, kind, gate.users if gate else 0)
    if gate:
        _case(suite, f"at least {things(gate.users, 'user')} served", None if gate.met else gate.sentence)
    for test in tests:
        case = _case(suite, test.name, None if test.outcome == "passed" else test.sentence)
        if test.seconds is not None:
            case.set("time", f"{test.seconds:.1f}")
    failures = len(suite.findall("testcase/failure"))
    suite.attrib |= {"tests": str(len(suite)), "failures": str(failures), "errors": "0"}
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    ET.indent(suite)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ET.tostring(suite, encoding='unicode')}\n"


def _level(suite: ET.Element, visits: Sequence[Mapping[str, Any]], required: int) -> None:
    level = visits[0]
    state = level["state"]
    costs = listed([cause(dimension) for dimension in level["why"]])
    why = (
        reason_in_words(level["reasons"], level["served_share"], level["broken_share"])
        if state == "unproven"
        else costs
    )
    result = STATE_WORDS[state] + (f" ({why})" if why else "")
    is_failure = state == "failed" and level["users"] <= required
    case = _case(suite, users_label(without_visit(level)), result if is_failure else None)
    case.set("time", f"{sum(visit['t_end'] - visit['t_start'] for visit in visits):.1f}")
    if state != "held" and not is_failure:
        ET.SubElement(case, "skipped", message=_xml(result))


def _kind(suite: ET.Element, kind: Mapping[str, Any], required: int) -> None:
    """Add the case of one kind; a request name is only shown, as the answer counts all of them together."""
    held, failed = kind["bracket"]
    is_user, said = kind["source"] == "workload", f"served: {proven_users(kind)}"
    is_failure = is_user and failed is not None and failed <= required
    case = _case(suite, f"{'kind' if is_user else 'name'} {kind['name']}", said if is_failure else None)
    if not is_failure and (held is None or held < required):
        ET.SubElement(case, "skipped", message=_xml(said))


def _case(suite: ET.Element, name: str, failure: str | None) -> ET.Element:
    case = ET.SubElement(suite, "testcase", classname="probe", name=_xml(name))
    if failure is not None:
        ET.SubElement(case, "failure", message=_xml(failure))
    return case


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
