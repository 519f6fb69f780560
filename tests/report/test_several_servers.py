"""The report of a run over several servers: one for each, an overview, and no verdict of all."""

import csv
import json
import re
from pathlib import Path

import pytest

from probe_ext import cli
from probe_ext.exit_codes import ExitCode
from probe_ext.report import report_command
from probe_ext.report.inputs import frames
from probe_ext.run import manifest
from probe_ext.run.manifest import ManifestError
from tests.report.synthetic_run import URL

KINDS = ("capacity", "silent")


@pytest.fixture
def servers(run: Path) -> Path:
    """The synthetic run as one of two servers; the other one was never asked."""
    content = manifest.read(run)
    started = [{**worker, "started_by_kind": {"capacity": worker["started"]}} for worker in content["workers"]]
    by_host = {kind: {"target": {**content["target"], "host": f"http://{kind}:8000"}, "server": []} for kind in KINDS}
    by_host["capacity"]["server"] = [{**content["server"][0], "metrics_url": URL}]
    windows = [json.loads(line) for line in (run / "sketches.jsonl").read_text().splitlines()]
    lines = [json.dumps({**window, "metric": f"{window['metric']}/capacity"}) + "\n" for window in windows]
    (run / "sketches.jsonl").write_text("".join(lines))
    head, *counts = (run / "users.csv").read_text().splitlines()
    doubled = [[t, str(2 * int(users)), str(2 * int(target)), *more] for t, users, target, *more in csv.reader(counts)]
    (run / "users.csv").write_text("\n".join([head, *map(",".join, doubled), ""]))
    manifest.write(run, {**content, "workers": started, "by_host": by_host})
    for name in ("capacity.json", "capacity.html"):  # of the run as that of one server
        (run / name).unlink()
    return run


def test_each_server_has_a_report_and_the_overview_lists_them(
    servers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(["report", str(servers)])
    found = {kind: json.loads((servers / "servers" / kind / "capacity.json").read_text()) for kind in KINDS}
    said = capsys.readouterr().out
    listed = json.loads((servers / "servers.json").read_text())["servers"]
    page, summary = (servers / "capacity.html").read_text(), (servers / "summary.md").read_text()
    assert [one["name"] for one in listed] == [*KINDS]
    for one in listed:
        capacity = found[one["name"]]
        assert (one["verdict"], one["sentence"]) == (capacity["verdict"], capacity["sentence"])
        assert one["host"] == f"http://{one['name']}:8000"
        assert f"{one['name']}: {capacity['sentence']}" in said
        assert f'href="{one["run"]}/capacity.html"' in page
        assert f"**{one['name']}**" in summary
    assert found["capacity"]["served_users"] == 6
    assert found["silent"]["served_users"] is None
    assert not (servers / "capacity.json").exists()
    assert code == (ExitCode.INVALID if "invalid" in {one["verdict"] for one in listed} else ExitCode.OK)


def test_the_answers_keep_their_width_on_a_narrow_screen_and_long_hosts_are_broken(servers: Path) -> None:
    cli.main(["report", str(servers), "--quiet"])
    page = (servers / "capacity.html").read_text()
    assert page.count('<td class="words answer">') == len(KINDS)
    assert re.search(r"\.answer\{min-width:\d+rem;", page), "an answer would become a column of single words"
    assert re.search(r"\.sides th\[scope=row\]\{[^}]*overflow-wrap:anywhere", page)


def test_gates_are_applied_to_each_server_and_the_worst_decides(
    servers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(["report", str(servers), "--fail-under-users", "4"])
    said = capsys.readouterr().out
    assert "  gate: at least 4 users served: met, 4 held" in said
    assert said.count("  gate: ") == len(KINDS)
    assert code != ExitCode.OK


@pytest.mark.parametrize("codes", [(0, 0), (0, 1), (1, 0), (3, 1)])
def test_the_exit_code_is_the_worst(servers: Path, monkeypatch: pytest.MonkeyPatch, codes: tuple[int, ...]) -> None:
    of_servers = iter(codes)
    monkeypatch.setattr(report_command, "exit_code", lambda _: next(of_servers))
    assert cli.main(["report", str(servers), "--quiet"]) == max(codes)


def test_a_server_s_part_is_judged_as_if_it_had_been_alone(whole_run: Path, servers: Path) -> None:
    cli.main(["report", str(servers), "--quiet"])
    alone, part = frames.load(whole_run), frames.load(servers / "servers" / "capacity")
    assert list(part.replies["due"]) == list(alone.replies["due"])
    assert list(part.gaps["start"]) == list(alone.gaps["start"])
    assert list(part.users["users"]) == list(alone.users["users"])
    assert len(part.server["t"]) == len(alone.server["t"])
    assert [(window.metric, window.count) for window in part.windows] == [
        (window.metric, window.count) for window in alone.windows
    ]
    own, other = (
        json.loads((path / "capacity.json").read_text()) for path in (servers / "servers" / "capacity", whole_run)
    )
    assert own["levels"] == other["levels"]
    assert own["sentence"] == other["sentence"]


def test_nothing_else_takes_several_servers_for_one(servers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ManifestError, match=r"is a run over several servers; give one of .*/servers"):
        frames.load(servers)
    assert cli.main(["compare", str(servers), str(servers / "servers" / "capacity")]) == ExitCode.USAGE
    assert cli.main(["report", str(servers), "--prometheus", "http://127.0.0.1:9"]) == ExitCode.USAGE
    assert capsys.readouterr().err.count("is a run over several servers") == 2
