"""`probe doctor` as its user runs it: table, JSON, page, exit codes."""

import argparse
import json
import re
import socket
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from probe_ext import cli
from probe_ext.inspection.check_result import TITLES, CheckResult, Status
from probe_ext.inspection.doctor import examine as examining
from probe_ext.inspection.doctor.examination_output import as_json, html, sentence
from probe_ext.inspection.doctor.examine import Examination, examine, exit_code_of, to_fix
from probe_ext.inspection.planned_run import planned_run
from probe_ext.inspection.server import cancel, prefix_cache
from probe_ext.inspection.shared_options import add_options, options_of
from probe_ext.settings.options import read_options
from tests.in_process_sim import running_sim


@pytest.fixture(autouse=True)
def brief_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "_IDLE_WATCH_S", 1.1)
    monkeypatch.setattr(cancel, "_TARGET_S", 2.0)
    monkeypatch.setattr(prefix_cache, "_PAIRS", 2)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["doctor", *arguments])
    captured = capsys.readouterr()
    return int(code), captured.out, captured.err


def test_a_repeated_header_keeps_all_values() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, ["header", "model"])
    given = parser.parse_args(["--header", "A:1", "--header", "B:2"])
    assert options_of(given, ["header", "model"], "capacity").header == ("A: 1", "B: 2")
    assert options_of(parser.parse_args(["--model", "m"]), ["header", "model"]).header == ()


def test_a_healthy_server(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "doctor.html"
    with running_sim(speed=4.0) as sim:
        code, out, _ = run(capsys, sim.url, "--json", "--html", str(page))
    document = json.loads(out)
    assert [finding["id"] for finding in document["findings"]] == list(TITLES)
    assert (code, document["exit_code"]) == (0, 0), document
    assert {finding["status"] for finding in document["findings"]} <= {"ok", "unknown"}
    assert document["server"]["kind"] == "vllm"
    assert document["plan"]["users"] == 8
    text = unescape(page.read_text(encoding="utf-8"))
    assert all(title in text for title in TITLES.values())
    style, body = text.split("</style>")
    assert not re.search(r"url\((?!#)|@import|<script", style)  # nothing is loaded
    assert not re.search(r"src=|href=|<script", body)


def test_a_server_with_something_to_fix(capsys: pytest.CaptureFixture[str]) -> None:
    with running_sim("unstreamed,no-keep-alive", speed=4.0) as sim:
        code, out, _ = run(capsys, sim.url, "--levels", "1,2,300")
    assert code == 1
    assert re.search(r"^problem +streaming", out, re.MULTILINE)
    assert re.search(r"^fix +kept connections", out, re.MULTILINE)
    last = out.rstrip().splitlines()[-1]
    assert last.startswith("To fix before a run with up to 300 users: streaming")


def test_a_plan_that_does_not_fit_the_context(capsys: pytest.CaptureFixture[str]) -> None:
    with running_sim("small-context", speed=4.0) as sim:
        code, out, _ = run(capsys, sim.url, "--scenario", "memory_wall", "--json")
    finding = next(f for f in json.loads(out)["findings"] if f["id"] == "context")
    assert (code, finding["status"]) == (1, "problem")
    assert finding["figures"] == {"context_tokens": 256, "planned_tokens": 2500}


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        code, out, _ = run(capsys, f"http://127.0.0.1:{sock.getsockname()[1]}")
    assert code == 3
    assert "This server cannot be used: No connection to port" in out


def test_a_server_that_refuses_every_request(capsys: pytest.CaptureFixture[str]) -> None:
    with running_sim(faults=(examining_fault(),)) as sim:
        code, out, _ = run(capsys, sim.url)
    assert code == 3
    assert "Requests fail: HTTP 503" in out


def examining_fault() -> Any:
    from probe_ext.sim.faults import parse_fault  # noqa: PLC0415

    return parse_fault("503")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ftp://server"], "probe: URL ftp://server: scheme must be http or https"),
        (["http://server", "--levels", "a"], "probe: --levels a:"),
        (["http://server", "--scenario", "none"], "probe: none: unknown scenario"),
        (["http://server", "--html", "/no/such/folder/page.html"], "probe: --html /no/such/folder/page.html: no such"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert [line for line in err.splitlines() if line][-1].startswith(said)


@pytest.fixture(scope="module")
def examination() -> Examination:
    with running_sim(speed=8.0, model="<script>alert(1)</script>") as sim, pytest.MonkeyPatch.context() as patch:
        patch.setattr(examining, "_with_replies", lambda *_: [])
        return examine(sim.url, read_options({}), planned_run(read_options({})))


def test_text_of_the_server_is_escaped(examination: Examination) -> None:
    assert "<script>" not in html(examination)
    assert "&lt;script&gt;alert(1)" in html(examination)


def test_no_output_has_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_API_KEY", "a-secret-key")
    monkeypatch.setattr(examining, "_with_replies", lambda *_: [])
    with running_sim(speed=8.0, api_key="a-secret-key") as sim:
        seen = examine(sim.url, read_options({}), planned_run(read_options({})))
    assert seen.usable
    assert "a-secret-key" not in as_json(seen) + html(seen)


def of(*statuses: Status, usable: bool = True, base: Examination) -> Examination:
    findings = tuple(CheckResult("disk", status, f"seen {status}.") for status in statuses)
    return Examination(base.server, base.plan, findings, 0.0, 1.0, usable)


@pytest.mark.parametrize(
    ("statuses", "usable", "code"),
    [
        ([Status.OK, Status.UNKNOWN], True, 0),
        ([Status.OK, Status.WARN], True, 1),
        ([Status.PROBLEM], True, 1),
        ([Status.PROBLEM], False, 3),
        ([Status.OK], False, 3),
    ],
)
def test_exit_codes(statuses: list[Status], usable: bool, code: int, examination: Examination) -> None:
    assert exit_code_of(of(*statuses, usable=usable, base=examination)) == code


def test_problems_come_first(examination: Examination) -> None:
    mixed = of(Status.WARN, Status.PROBLEM, Status.UNKNOWN, base=examination)
    assert [finding.status for finding in to_fix(mixed.findings)] == [Status.PROBLEM, Status.WARN]
    assert sentence(mixed).endswith("1 question could not be answered.")


@pytest.mark.parametrize(("status", "said"), [(Status.OK, True), (Status.UNKNOWN, False)])
def test_nothing_to_fix_names_the_shared_cpu_of_which_the_report_will_warn(
    status: Status, said: bool, examination: Examination
) -> None:
    finding = CheckResult("server_process", status, "seen.")
    text = sentence(replace(of(Status.OK, base=examination), findings=(finding,)))
    assert text.startswith("Nothing to fix before a run with up to ")
    assert ("; but load generator and server share this machine's CPU." in text) == said


def test_a_check_that_takes_too_long_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    import gevent  # noqa: PLC0415

    monkeypatch.setattr(examining, "_CHECK_LIMIT_S", 0.2)
    monkeypatch.setattr(examining, "metrics", lambda _: gevent.sleep(60))
    with running_sim(speed=8.0) as sim:
        seen = examine(sim.url, read_options({}), planned_run(read_options({})))
    slow = next(finding for finding in seen.findings if finding.id == "metrics")
    assert (slow.status, slow.evidence) == (Status.UNKNOWN, "Not finished within 0 s.")
