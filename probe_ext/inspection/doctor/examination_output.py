"""An examination as JSON, as a table on the terminal, and as a page."""

import json
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from probe_ext import __version__
from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.inspection.doctor.examine import Examination, exit_code_of, to_fix
from probe_ext.measure import clock
from probe_ext.measure.safe_text import all_printable, printable
from probe_ext.page.environment import environment, style
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import listed, things

SCHEMA = 1
_TEMPLATES = Path(__file__).with_name("templates")
_COLOURS = {Status.OK: "green", Status.WARN: "yellow", Status.PROBLEM: "red", Status.UNKNOWN: "dim"}
_WORDS = {Status.OK: "ok", Status.WARN: "fix", Status.PROBLEM: "problem", Status.UNKNOWN: "unknown"}
_ROW_CLASSES = {Status.OK: "held", Status.WARN: "unproven", Status.PROBLEM: "failed", Status.UNKNOWN: "unproven"}
_PIPE_COLUMNS = 110


def as_json(examination: Examination) -> str:
    """Return the examination as a JSON document; its keys are described in docs/doctor.md."""
    server, plan = examination.server, examination.plan
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "probe_ext": __version__,
        "url": server.url,
        "at": clock.utc_text(examination.started),
        "seconds": round(examination.seconds, 3),
        "exit_code": exit_code_of(examination),
        "sentence": sentence(examination),
        "server": {
            "kind": server.kind,
            "version": server.version,
            "model": server.model,
            "max_model_len": server.max_model_len,
        },
        "plan": {
            "users": plan.users,
            "input_tokens": plan.input_tokens,
            "max_tokens": plan.max_tokens,
            "seconds": plan.seconds,
        },
        "findings": [_finding(finding) for finding in examination.findings],
    }
    return json.dumps(all_printable(document), indent=1, ensure_ascii=False) + "\n"


def _finding(finding: CheckResult) -> dict[str, Any]:
    return {
        "id": finding.id,
        "title": finding.title,
        "status": str(finding.status),
        "evidence": finding.evidence,
        "advice": finding.advice,
        "figures": dict(finding.figures),
    }


def sentence(examination: Examination) -> str:
    """Say in one sentence how it stands."""
    fixes = to_fix(examination.findings)
    if not examination.usable:
        first = fixes[0].evidence if fixes else "It did not answer."
        return f"This server cannot be used: {first}"
    unknown = sum(finding.status is Status.UNKNOWN for finding in examination.findings)
    rest = f" {things(unknown, 'question')} could not be answered." if unknown else ""
    users = things(examination.plan.users, "user")
    if not fixes:
        shared = "; but load generator and server share this machine's CPU" if _shares_cpu(examination) else ""
        return f"Nothing to fix before a run with up to {users}{shared}.{rest}"
    names = listed([finding.title for finding in fixes], most=6)
    return f"To fix before a run with up to {users}: {names}.{rest}"


def _shares_cpu(examination: Examination) -> bool:
    """Tell whether the server's process runs here, of which a report will warn."""
    return any(one.id == "server_process" and one.status is not Status.UNKNOWN for one in examination.findings)


def show(examination: Examination, to: TextIO) -> None:
    """Print a table of all findings, and the sentence."""
    console = Console(file=to, highlight=False, width=None if to.isatty() else _PIPE_COLUMNS)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in examination.findings:
        evidence = Text(printable(finding.evidence))
        if finding.advice:
            evidence.append("\n→ " + printable(finding.advice), style="bold" if finding.needs_fix else "dim")
        table.add_row(Text(_WORDS[finding.status], style=_COLOURS[finding.status]), finding.title, evidence)
    console.print(table)
    console.print(Text(printable(sentence(examination)), style="bold"), soft_wrap=True)


def html(examination: Examination) -> str:
    """Return the examination as one self-contained page. Text from the server is escaped."""
    server, plan = examination.server, examination.plan
    facts = [
        f"{server.kind} {server.version or ''}".strip(),
        server.model or "no model",
        f"plan: {things(plan.users, 'user')}, {plan.input_tokens:,} + {plan.max_tokens:,} tokens",
        f"{clock.utc_text(examination.started)[:16].replace('T', ' ')} UTC, took {formats.span(examination.seconds)}",
        f"probe-ext {__version__}",
    ]
    rows = [
        {
            "class": _ROW_CLASSES[finding.status],
            "title": finding.title,
            "status": _WORDS[finding.status],
            "evidence": _parts(finding.evidence),
            "advice": _parts(finding.advice or ""),
        }
        for finding in examination.findings
    ]
    page = environment(_TEMPLATES).get_template("doctor.html.j2")
    return page.render(
        style=style(),
        url=printable(server.url),
        sentence=printable(sentence(examination)),
        facts=[printable(fact) for fact in facts],
        rows=rows,
    )


def _parts(text: str) -> list[dict[str, str | bool]]:
    """Split a text at its backticks into plain parts and code."""
    return [{"text": part, "code": bool(n % 2)} for n, part in enumerate(printable(text).split("`")) if part]
