"""Page, terminal, summary, JUnit, gate and `capacity.json` of one run never disagree, whatever the run was like."""

import json
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import synthetic_run

from probe_ext.bundled import folder
from probe_ext.exit_codes import ExitCode
from probe_ext.measure.table_rows import ReplyRow, UserRow
from probe_ext.report import report_command
from probe_ext.report.inputs import frames
from probe_ext.report.outputs import terminal
from probe_ext.report.sections.page import Page
from probe_ext.report.sections.page import page as view
from probe_ext.report.wording.shared_sentences import STATE_SIGNS, STATE_WORDS
from probe_ext.run import manifest
from probe_ext.run.tables import TableWriter
from probe_ext.settings.slo import load_profile
from probe_ext.verdict.wording.capacity_phrase import interval_text

pytestmark = pytest.mark.untraced

HOLD = 40
PLANS = ((1, 2, 4, 8), (4, 8, 12, 8, 16), (2, 6, 10, 14), (3,), (8, 12, 16, 20), (16, 8, 4, 2))
HELD_LIMITS = (0, 3, 9, 100)
"""Users up to whom nearly every reply of a drawn run is served."""


@dataclass(frozen=True)
class Drawn:
    """A run drawn at random, with all its outputs."""

    capacity: dict[str, Any]
    page: Page
    built: report_command.Built
    summary: str
    suite: ET.Element
    terminal: str


def replies(plan: tuple[int, ...], limit: int, draw: random.Random) -> Iterator[ReplyRow]:
    """Yield replies that pause, or break, more and more often above the limit; of one user in some runs, always."""
    bad_user = 0 if draw.random() < 0.15 else None
    breaks = draw.random() < 0.15
    number, end = 0, float(HOLD * len(plan))
    for user in range(max(plan)):
        due = 0.01 * user
        while due < end:
            users = plan[int(due // HOLD)]
            if user >= users:
                due += 1.0
                continue
            pauses = draw.random() < (0.02 if users <= limit else min(0.9, 0.08 * (users - limit)))
            row = synthetic_run.reply(number, user, due, users, 4.0 if pauses or user == bad_user else 0.0)
            if breaks and draw.random() < 0.03:
                row = replace(row, outcome="http_error", status=500)
            yield row if row.end < end else synthetic_run.cut(row, end)
            number += 1
            due = row.end + 0.2


def drawn_run(run: Path, seed: int) -> Path:
    """Write a run drawn at random."""
    draw = random.Random(seed)
    plan = PLANS[seed % len(PLANS)]
    made = list(replies(plan, draw.choice(HELD_LIMITS), draw))
    run.mkdir()
    options = {"levels": ",".join(map(str, plan)), "hold": float(HOLD), "settle": 5.0, "slo": "chat"}
    if draw.random() < 0.5:
        options |= {"team_think_time": 30.0, "price_per_hour": 2.5}
    planned = {"levels": list(plan), "hold": float(HOLD), "settle": 5.0, "min_replies": 3}
    content = synthetic_run.manifest_of(options=options, plan=planned)
    for worker in content["workers"]:
        worker["rows"] = worker["started"] = sum(row.worker == worker["id"] for row in made)
    manifest.write(run, content)
    times = range(HOLD * len(plan) + 1)
    users = [plan[min(second // HOLD, len(plan) - 1)] for second in times]
    for name, kind, rows in (
        ("requests.csv", ReplyRow, made),
        ("users.csv", UserRow, [UserRow(float(t), n, n, "running") for t, n in zip(times, users, strict=True)]),
    ):
        writer = TableWriter(run / name, kind)
        writer.append(rows)
        writer.close()
    return run


@pytest.fixture(scope="module", params=[*range(6), *(pytest.param(n, marks=pytest.mark.long) for n in range(6, 20))])
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    run = drawn_run(tmp_path_factory.mktemp("drawn") / "run", request.param)
    gate = random.Random(request.param).choice([1, 4, 8, 12])
    built = report_command.build(run, required=gate)
    capacity = json.loads((run / "capacity.json").read_text(encoding="utf-8"))
    page = view(capacity, frames.load(run), load_profile("chat", folder("configs") / "slo"), built.given)
    with (run / "terminal.txt").open("w", encoding="utf-8") as out:
        terminal.show(capacity, built.gate, built.page, out, built.given)
    return Drawn(
        capacity,
        page,
        built,
        (run / "summary.md").read_text(encoding="utf-8"),
        ET.parse(run / "junit.xml").getroot(),
        (run / "terminal.txt").read_text(encoding="utf-8"),
    )


def test_every_output_has_the_sentence(drawn: Drawn) -> None:
    sentence = drawn.capacity["sentence"]
    assert drawn.terminal.splitlines()[-2] == sentence
    assert sentence in drawn.summary.splitlines()[0].replace("\\", "")
    answer = drawn.page.answer
    parts = " ".join(filter(None, [f"{answer.before}{answer.number}{answer.after}", answer.rest]))
    assert parts == re.sub(r" \(95 %: [^()]*\)", "", sentence, count=1) or parts == sentence


def test_a_big_number_is_proven_and_stands_below_a_valid_badge(drawn: Drawn) -> None:
    served, number = drawn.capacity["served_users"], drawn.page.answer.number
    assert number == (f"{served:,}" if served else "")
    assert (drawn.page.badge.kind == "valid") == (served is not None)


def test_sentence_picture_interval_and_bracket_have_the_same_numbers(drawn: Drawn) -> None:
    served, (low, high) = drawn.capacity["served_users"], drawn.capacity["interval"]
    held, failed = drawn.capacity["bracket"]
    marks = [label.text for label in drawn.page.stack.plot.labels if label.kind == "caplab"]
    if served:
        (mark,) = marks
        assert mark.startswith(f"{'proven' if served == held else 'about'} {served}")
        assert f" {served:,} " in f" {drawn.capacity['sentence']}"
        assert low <= served or low > held, "the answer lies in its interval, or is all that is proven"
    if served is None and marks:
        assert re.match(rf"probably {drawn.capacity['suggestion']['users']}\b", marks[0])
        assert marks[0].endswith("not proven")
    said = re.search(r"\(95 %: ([^()]*)\)", drawn.capacity["sentence"])
    assert not said or said[1] == interval_text((low, high))
    if drawn.page.interval:
        assert drawn.page.interval == f"95 % interval: {interval_text((min(low, served or low), high))}"
        assert (drawn.page.interval in drawn.summary) != bool(said), "the interval is given once"
    note = drawn.page.picture_notes[0]
    assert (f"{held} holds" in note) == (held is not None)
    assert (f"{failed} fails" in note) == (failed is not None)
    assert note in drawn.summary


def _rows_of(drawn: Drawn) -> list[str]:
    """Return the rows of the terminal's table."""
    lines = drawn.terminal.splitlines()[1:]
    return lines[: next(place for place, line in enumerate(lines) if line.startswith("SLO profile"))]


def test_states_are_the_same_everywhere(drawn: Drawn) -> None:
    state_of = {level["users"]: level["state"] for level in drawn.capacity["levels"]}
    assert dict(zip(drawn.page.stack.users, [bar.state for bar in drawn.page.stack.bars], strict=True)) == state_of
    signs = [label.text for label in drawn.page.stack.plot.labels if label.kind.startswith("sign")]
    assert signs == [STATE_SIGNS[state] for _, state in sorted(state_of.items())]
    for row in drawn.page.results.rows:
        assert row.state == state_of[row.users]
        assert row.cells[0].text == f"{STATE_SIGNS[row.state]}\u00a0{STATE_WORDS[row.state]}"
        assert f"|{row.head}|{row.cells[0].text}|" in drawn.summary
    shown = [line.split() for line in _rows_of(drawn)]
    stated = {int(words[0]): words[-1] for words in shown if words[-1] in STATE_WORDS.values()}
    assert stated == {users: STATE_WORDS[state] for users, state in state_of.items()}
    skipped = {case.get("name", "").split()[0] for case in drawn.suite if case.find("skipped") is not None}
    bare = {case.get("name", "").split()[0] for case in drawn.suite if len(case) == 0}
    for users, state in state_of.items():
        assert (str(users) in bare) == (state == "held")
        assert state != "unproven" or str(users) in skipped


def test_bars_and_table_have_the_same_shares(drawn: Drawn) -> None:
    shares = {row.users: row.cells[1].text for row in drawn.page.results.rows}
    for users, bar, point in zip(
        drawn.page.stack.users, drawn.page.stack.bars, drawn.page.stack.plot.points, strict=True
    ):
        served = [share for grade, _, _, share, _ in bar.parts if grade == "served"]
        level = next(level for level in drawn.capacity["levels"] if level["users"] == users)
        assert served == ([level["served_share"]] if level["served_share"] else [])
        assert not served or f"{bar.few.get('served', shares[users])} served" in point


def test_each_count_of_judged_replies_is_the_same_everywhere(drawn: Drawn) -> None:
    """In table, terminal, summary and `capacity.json`; and with all others they are all replies of the run."""
    in_time = drawn.capacity["levels"]
    levels = sorted(in_time, key=lambda level: (level["users"], level["t_start"]))
    cells = [row.cells[6].text for row in drawn.page.results.rows]
    assert [column.unit for column in drawn.page.results.columns][7] == "judged"
    each = [
        [level["replies_judged"] for level in levels if level["users"] == users] for users in drawn.page.stack.users
    ]
    assert cells == [f"{sum(visits):,}" for visits in each]
    shown = [number for visits in each for number in ([sum(visits), *visits] if len(visits) > 1 else visits)]
    assert [line.split("%")[2].split()[0] for line in _rows_of(drawn)] == [f"{number:,}" for number in shown]
    assert "judged" in drawn.terminal.splitlines()[0]
    assert all(f"|{text}|" in drawn.summary for text in cells)
    for level in levels:
        parts = [level[f"replies_{grade}"] for grade in ("served", "strained", "broken", "open")]
        assert sum(parts) == sum(level["outcomes"].values()) == level["replies_judged"]
        assert level["slo_attainment"] == pytest.approx((parts[0] + parts[3]) / level["replies_judged"], abs=1e-6)
    note = next((note for note in drawn.page.notes if " judged, and all shares" in note), None)
    assert note is not None
    judged, total, *others = [int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d(?! s )", note)]
    assert judged == sum(level["replies_judged"] for level in levels)
    assert judged + sum(others) == total == drawn.capacity["replies"]


def test_a_share_of_one_visit_is_that_of_its_counts(drawn: Drawn) -> None:
    """Where no replies are left out for a reason of their own: bars, table and SLO attainment are of one set."""
    users = [level["users"] for level in drawn.capacity["levels"]]
    for level in drawn.capacity["levels"]:
        if users.count(level["users"]) == 1 and level["users"] not in drawn.capacity["disturbed"]:
            assert level["served_share"] == pytest.approx(level["slo_attainment"], abs=1e-6)


def test_the_gate_goes_by_what_is_proven_in_every_output(drawn: Drawn) -> None:
    gate, (held, failed) = drawn.built.gate, drawn.capacity["bracket"]
    assert gate is not None
    passed, missed = held is not None and held >= gate.users, failed is not None and failed <= gate.users
    assert gate.outcome == ("passed" if passed else "failed" if missed else "unproven")
    assert report_command.exit_code(drawn.built) == (ExitCode.OK if passed else ExitCode.GATE)
    sign = {"passed": "✅", "failed": "❌", "unproven": "❔"}[gate.outcome]
    assert drawn.summary.startswith(f"### {sign} Gate {gate.outcome} ")
    assert gate.sentence in drawn.terminal.splitlines()
    case = drawn.suite.findall("testcase")[-1]
    failure = case.find("failure")
    assert (failure is None) == passed
    assert failure is None or failure.get("message") == gate.sentence
