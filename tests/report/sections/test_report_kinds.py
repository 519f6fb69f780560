"""Kinds of user in every output: page, terminal, summary, JUnit and gate."""

import csv
import io
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import synthetic_run

from probe_ext.bundled import folder
from probe_ext.report.outputs import terminal
from probe_ext.report.outputs.gate import gate
from probe_ext.report.report_command import Built, build
from probe_ext.report.sections.optional.kinds import kinds_section, stated_users
from probe_ext.settings.slo import load_profile

KINDS = ("chat", "review")


def _workload() -> dict[str, Any]:
    profiles = {
        name: load_profile(slo, folder("configs") / "slo") for name, slo in zip(KINDS, ("chat", "batch"), strict=True)
    }
    kinds = [
        {"name": name, "share": 0.5, "users": None, "slo": profile.model_dump(mode="json"), "think_time": None}
        for name, profile in profiles.items()
    ]
    return {"name": "team", "kinds": kinds, "arrivals": {"form": "users"}}


def _rename(run: Path, names: tuple[str, ...]) -> None:
    """Give the replies of every user the name of a kind, in turns."""
    for file in run.glob("requests*.csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        for row in rows:
            row["scenario"] = names[int(row["user"].split(":")[1]) % len(names)]
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


@pytest.fixture(scope="module")
def by_kind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the small model; half of its users are reviewers, who are judged by the profile `batch`."""
    run = synthetic_run.build(tmp_path_factory.mktemp("kinds"), workload=_workload())
    _rename(run, KINDS)
    return run


@pytest.fixture(scope="module")
def report(by_kind: Path) -> Built:
    return build(by_kind)


def _page(built: Built) -> str:
    return built.page.read_text(encoding="utf-8")


def test_the_page_has_a_row_for_each_kind(report: Built) -> None:
    html = _page(report)
    assert "By kind of user" in html
    assert "50 % of the users, SLO batch" in html
    assert "SLO profiles chat, batch" in html
    assert "concurrent users that meet the SLO profile chat" not in html
    assert "A number of users holds if it holds for every kind of user" in html


def test_the_terminal_and_the_summary_have_it_too(report: Built) -> None:
    shown = io.StringIO()
    terminal.show(report.judgement.to_json(), None, report.page, shown)
    summary = (report.page.parent / "summary.md").read_text(encoding="utf-8")
    for text in (shown.getvalue(), summary):
        assert "chat (50 % of the users, SLO chat)" in text
        assert "review (50 % of the users, SLO batch)" in text
    assert "SLO profile: chat" not in shown.getvalue()


def test_junit_has_a_case_for_each_kind(report: Built) -> None:
    suite = ET.fromstring((report.page.parent / "junit.xml").read_text(encoding="utf-8"))
    assert {case.get("name") for case in suite} >= {"kind chat", "kind review"}
    assert suite.get("failures") == "0"


def test_the_gate_names_the_kind_that_misses_it() -> None:
    def kind(name: str, failed: int | None) -> dict[str, Any]:
        return {"name": name, "source": "workload", "bracket": [4, failed]}

    capacity = {
        "verdict": "valid", "bracket": [4, 8], "levels": [], "diagnosis": {"bounds": []}, "suggestion": None,
        "kinds": [kind("chat", None), kind("review", 8)],
    }  # fmt: skip
    missed = gate(capacity, 8)
    assert missed is not None
    assert missed.sentence == "gate: at least 8 users served: missed, 8 are too many, for review"


def test_another_profile_judges_all_kinds_and_the_page_says_so(tmp_path: Path) -> None:
    run = synthetic_run.build(tmp_path / "run", workload=_workload())
    _rename(run, KINDS)
    built = build(run, slo="batch")
    assert {kind.profile["name"] for kind in built.judgement.kinds} == {"batch"}
    assert "Each kind is judged by the profile batch" in _page(built)


def test_request_names_are_shown_without_a_workload(tmp_path: Path) -> None:
    run = synthetic_run.build(tmp_path / "run")
    _rename(run, ("ask", "<b>sum</b>"))
    html = _page(build(run))
    assert "By request name" in html
    assert "&lt;b&gt;sum&lt;/b&gt;" in html
    assert "<b>sum</b>" not in html


def test_a_run_of_one_kind_has_no_such_section(tmp_path: Path) -> None:
    run = synthetic_run.build(tmp_path / "run")
    html = _page(build(run))
    assert "By kind of user" not in html
    assert "By request name" not in html


@pytest.mark.parametrize(
    ("share", "fixed", "of", "said"),
    [
        (0.8, None, "users", "80 % of the users, SLO chat"),
        (0.5, None, "other users", "50 % of the other users, SLO chat"),
        (1.0, None, "other users", "all other users, SLO chat"),
        (None, 1, "other users", "1 user, SLO chat"),
        (None, None, "users", "SLO chat"),
    ],
)
def test_a_kind_says_which_users_it_has(share: float | None, fixed: int | None, of: str, said: str) -> None:
    kind = {"share": share, "fixed_users": fixed, "profile": {"name": "chat"}}
    assert stated_users(kind, of) == said


def test_of_an_open_stream_kinds_have_shares_of_the_requests() -> None:
    kind = {"name": "story", "share": 0.5, "fixed_users": None, "profile": {"name": "chat"}, "replies": 0, "levels": []}
    kind |= {"bracket": [None, None], "served_users": None, "interval": None, "breaks_first": None}
    for load, of in (("rate", "requests"), ("users", "users")):
        section = kinds_section({"kinds": [{**kind, "source": "workload", "groups": None, "cost": None}], "load": load})
        assert section is not None
        assert section.results.rows[0].detail == f"50 % of the {of}, SLO chat"
