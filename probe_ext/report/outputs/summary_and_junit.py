"""The verdict in short: `summary.md` for a pull request, `junit.xml` for CI."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from probe_ext.report.outputs.gate import Gate
from probe_ext.report.sections.level_table import STATE_WORDS, Table
from probe_ext.report.sections.page import Page
from probe_ext.report.wording import shared_sentences
from probe_ext.report.wording.findings import read
from probe_ext.report.wording.level_names import by_users, label
from probe_ext.verdict.values.plurals import cause, listed, people

_HEADS = {"valid": "✅", "unproven": "❔", "invalid": "❌"}
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&])")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def summary(page: Page, capacity: Mapping[str, Any], gate: Gate | None) -> str:
    """Markdown: the answer, the gate, the levels, what is amiss."""
    head = "❌" if gate and not gate.met else _HEADS[capacity["verdict"]]
    lines = [f"### {head} {markdown(capacity['sentence'])}", ""]
    lines.append(" · ".join(markdown(fact) for fact in page.facts))
    if page.answer.interval:
        lines.append(f"  \n{page.answer.interval}")
    if cold := shared_sentences.cold_user(capacity["cold_user"]):
        lines += ["", markdown(cold)]
    if silent := shared_sentences.pauses(capacity["pauses"]):
        lines += ["", markdown(silent)]
    lines += [line for said in shared_sentences.team(capacity) for line in ("", markdown(said))]
    lines += ["", markdown(shared_sentences.bounds(capacity))]
    if gate:
        lines += ["", f"**{'✅' if gate.met else '❌'} {markdown(gate.says)}**"]
    if page.table.rows:
        lines += ["", *_levels(page.table)]
    lines += [
        "",
        *(f"- {f.sign} **{markdown(f.title)}** {markdown(f'{f.why} {f.advice}')}".rstrip() for f in page.findings),
    ]
    lines += [f"- ! {markdown(line)}" for line in page.damage]
    return "\n".join(lines).rstrip() + "\n"


def markdown(text: str) -> str:
    """Text that stands in Markdown as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))


def _levels(table: Table) -> list[str]:
    heads = [" ".join(filter(None, [column.head, column.unit])) for column in table.columns]
    rows = [[row.head, *(cell.text for cell in row.cells)] for row in table.rows]
    ruled = "|".join("---:" for _ in heads)
    return [f"|{'|'.join(heads)}|", f"|{ruled}|", *(f"|{'|'.join(row)}|" for row in rows)]


def junit(capacity: Mapping[str, Any], gate: Gate | None) -> str:
    """One test case for the run, one a level, and one for the gate.

    A level fails its case only where the gate asks for it: a sweep is meant to find a level that fails.
    """
    suite = ET.Element("testsuite", name="probe")
    spoiled = [finding for finding in read(capacity["findings"]) if finding.kind == "bad"]
    _case(
        suite, "the run can be believed", "; ".join(f"{f.check}: {f.title} {f.why}".rstrip() for f in spoiled) or None
    )
    for level in by_users(capacity["levels"]):
        _level(suite, level, gate.users if gate else 0)
    if gate:
        _case(suite, f"at least {people(gate.users)} served", None if gate.met else gate.says)
    failures = len(suite.findall("testcase/failure"))
    suite.attrib |= {"tests": str(len(suite)), "failures": str(failures), "errors": "0"}
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    ET.indent(suite)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ET.tostring(suite, encoding='unicode')}\n"


def _level(suite: ET.Element, level: Mapping[str, Any], asked: int) -> None:
    why = listed([cause(dimension) for dimension in level["why"]])
    says = " ".join(filter(None, [STATE_WORDS[level["state"]], why and f"({why})"]))
    wanted = level["state"] == "failed" and level["users"] <= asked
    case = _case(suite, f"{label(level)} people" if level["users"] != 1 else people(1), says if wanted else None)
    if level["state"] != "held" and case.find("failure") is None:
        ET.SubElement(case, "skipped", message=_xml(says))


def _case(suite: ET.Element, name: str, failure: str | None) -> ET.Element:
    case = ET.SubElement(suite, "testcase", classname="probe", name=_xml(name))
    if failure is not None:
        ET.SubElement(case, "failure", message=_xml(failure))
    return case


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
