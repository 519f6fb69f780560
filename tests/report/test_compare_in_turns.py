"""Measuring two servers in turns: the order, when it ends, and what stops it."""

import json
import shutil
import socket
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from probe_ext.compare.compare_set_ups import compare
from probe_ext.compare.set_up import SetUp
from probe_ext.compare.values import Comparison
from probe_ext.exit_codes import ExitCode
from probe_ext.report import compare_command
from probe_ext.report.comparison import measure_in_turns
from probe_ext.report.comparison.boundary_levels import chooses_load, find_limit, levels_around
from probe_ext.report.comparison.measure_in_turns import MAX_ROUNDS, MeasurementError, Turns, before_and_after, in_turns
from probe_ext.report.comparison.server_check import check_servers
from probe_ext.settings.errors import SettingsError
from tests.compare.test_compare_set_ups import compared, run

HOSTS = ("http://a", "http://b")
EXAMPLE = Path(__file__).parents[2] / "reports" / "examples" / "llamacpp"


class Measured:
    """Stands in for `probe run`, and notes what it was asked for."""

    def __init__(self, code: int = ExitCode.OK) -> None:
        self.hosts: list[str] = []
        self.runs: list[Path] = []
        self._code = code

    def __call__(self, host: str, out: Path) -> int:
        self.hosts.append(host)
        self.runs.append(out)
        return self._code


def turns(measured: Measured) -> Turns:
    return Turns(HOSTS, Path("out"), measured, lambda _: None)


@cache
def told_apart() -> Comparison:
    return compared(run(1), run(3, places=16))


def told_after(round_: int) -> tuple[list[int], Any]:
    """A comparison that can tell after so many rounds, and the looks that it was asked for."""
    looks: list[int] = []

    def compare_(runs: Sequence[Sequence[Path]], of: int) -> Comparison:
        looks.append(of)
        told = told_apart()
        capacity = next(row for row in told.rows if row.quantity == "capacity")
        if len(runs[0]) >= 2 * round_:
            return told
        return replace(told, rows=(replace(capacity, outcome="cannot_tell", minutes_more=5.0),))

    return looks, compare_


def test_a_round_is_a_b_b_a_and_ends_when_it_can_be_told() -> None:
    measured = Measured()
    looks, compare_ = told_after(1)
    assert in_turns(turns(measured), compare_).winner == "s1"
    assert measured.hosts == ["http://a", "http://b", "http://b", "http://a"]
    assert [run_.name for run_ in measured.runs] == ["a-1", "b-1", "b-2", "a-2"]
    assert looks == [MAX_ROUNDS]


def test_rounds_go_on_but_not_for_ever() -> None:
    measured = Measured()
    in_turns(turns(measured), told_after(2)[1])
    assert len(measured.hosts) == 8
    endless = Measured()
    in_turns(turns(endless), told_after(99)[1])
    assert len(endless.hosts) == 4 * MAX_ROUNDS


def test_what_more_time_would_not_tell_ends_at_once() -> None:
    measured = Measured()

    def never(_runs: Sequence[Sequence[Path]], _looks: int) -> Comparison:
        found = compared(run(1), run(2))
        return replace(found, rows=tuple(replace(row, minutes_more=None) for row in found.rows))

    in_turns(turns(measured), never)
    assert len(measured.hosts) == 4


@pytest.mark.untraced
def test_a_drift_that_hits_both_alike_is_not_called_a_difference() -> None:
    """Each run finds the server a little slower than the one before: A, B, B, A."""
    first, second, third, fourth = run(1, places=10), run(2, places=9), run(3, places=9), run(4, places=8)
    found = compare([SetUp("a", [first, fourth]), SetUp("b", [second, third])], looks=MAX_ROUNDS)
    assert {row.outcome for row in found.rows if row.quantity == "capacity"} == {"cannot_tell"}


def test_more_looks_make_a_proof_harder() -> None:
    once, thrice = (compare([SetUp("a", [run(1)]), SetUp("b", [run(2)])], looks=looks) for looks in (1, 3))
    widths = [
        [row.high - row.low for row in one.rows if row.low is not None and row.high is not None]
        for one in (once, thrice)
    ]
    assert all(wide >= narrow for narrow, wide in zip(*widths, strict=False))


def test_a_run_that_cannot_be_made_ends_with_its_code() -> None:
    with pytest.raises(MeasurementError) as ended:
        in_turns(turns(Measured(ExitCode.USAGE)), told_after(1)[1])
    assert ended.value.code == ExitCode.USAGE


def test_before_and_after_a_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_in_turns, "_wait_until_warm", lambda _: None)
    measured = Measured()
    mark = tmp_path / "switched"
    both = Turns(("http://a", "http://a"), tmp_path, measured, lambda _: None)
    before_and_after(both, f"touch {mark}", told_after(1)[1])
    assert [run_.name for run_ in measured.runs] == ["a-1", "a-2", "b-1", "b-2"]
    assert mark.exists()


def test_a_switch_that_fails_is_named() -> None:
    with pytest.raises(SettingsError, match="--between exit 7: ended with exit code 7"):
        before_and_after(turns(Measured()), "exit 7", told_after(1)[1])


def given(*arguments: str, rest: Sequence[str] = ()) -> Namespace:
    parser = ArgumentParser()
    compare_command.add_arguments(parser)
    return Namespace(**vars(parser.parse_args(arguments)), rest=list(rest))


def test_the_command_measures_and_writes_the_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def by_copy(scenario: str, options: Sequence[str]) -> Any:
        def measure(host: str, out: Path) -> int:
            asked.append((host, (scenario, *options)))
            shutil.copytree(EXAMPLE, out)
            return ExitCode.OK

        return measure

    monkeypatch.setattr(compare_command, "run_by_probe", by_copy)
    monkeypatch.setattr(compare_command, "check_servers", lambda *_: None)
    out = tmp_path / "out"
    arguments = given("x=http://a", "y=http://b", "--out", str(out), "--slo", "chat", rest=["--levels", "1,4"])
    assert compare_command.main(arguments) == ExitCode.OK
    assert asked[0] == ("http://a", ("capacity", "--levels", "1,4", "--slo", "chat"))
    assert {"a-1", "a-2", "b-1", "b-2", "compare.html", "compare.json", "summary.md"} <= {f.name for f in out.iterdir()}


def searched(users: int, folder: Path) -> Path:
    folder.mkdir(parents=True)
    capacity = {"verdict": "valid", "suggestion": {"users": users}}
    (folder / "capacity.json").write_text(json.dumps(capacity), encoding="utf-8")
    return folder


def test_without_levels_they_lie_around_the_limits_that_a_search_of_each_server_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def by_copy(_scenario: str, options: Sequence[str]) -> Any:
        def measure(host: str, out: Path) -> int:
            asked.append((host, tuple(options)))
            if "--search" in options:
                searched(8 if host == "http://a" else 20, out)
            else:
                shutil.copytree(EXAMPLE, out)
            return ExitCode.OK

        return measure

    monkeypatch.setattr(compare_command, "run_by_probe", by_copy)
    monkeypatch.setattr(compare_command, "check_servers", lambda *_: None)
    arguments = given("http://a", "http://b", "--out", str(tmp_path / "out"), rest=["--hold", "9s"])
    assert compare_command.main(arguments) == ExitCode.OK
    assert [host for host, options in asked if "--search" in options] == ["http://a", "http://b"]
    assert all(options[-2:] == ("--hold", "9s") for _, options in asked[:2])
    assert asked[2] == ("http://a", ("--hold", "9s", "--levels", "6,8,10,16,20,24"))


def test_levels_around_one_limit_go_on_above_it_where_the_other_is_not_known() -> None:
    assert levels_around([20]) == (14, 17, 20, 23, 26, 32, 40)
    assert levels_around([20, 21]) == (15, 18, 20, 22, 25)
    assert levels_around([1, 1]) == (1,)


def test_a_search_that_found_nothing_asks_for_levels(tmp_path: Path) -> None:
    folder = searched(8, tmp_path / "s")
    content = json.loads((folder / "capacity.json").read_text("utf-8"))
    (folder / "capacity.json").write_text(json.dumps({**content, "suggestion": None}), encoding="utf-8")
    with pytest.raises(SettingsError, match="choose the levels with --levels"):
        find_limit(folder)


@pytest.mark.parametrize(
    ("options", "environment", "chosen"),
    [
        ([], {}, False),
        (["--hold", "9s"], {"PROBE_LEVELS": ""}, False),
        (["--levels", "1,2"], {}, True),
        (["--levels=1,2"], {}, True),
        (["-u", "4"], {}, True),
        (["-u4"], {}, True),
        (["--run-time", "1m"], {}, True),
        ([], {"PROBE_SEARCH": "1"}, True),
    ],
)
def test_levels_that_are_given_stay(options: list[str], environment: dict[str, str], chosen: bool) -> None:
    assert chooses_load(options, environment) == chosen


@pytest.mark.parametrize(
    ("arguments", "rest", "why"),
    [
        (("http://a",), (), "must be two URLs, or one with --between"),
        (("http://a", "http://b", "--between", "true"), (), "must be two URLs, or one with --between"),
        (("http://a", "http://a"), (), "the same URL or name is given twice"),
        (("http://a", "runs/b"), (), "runs/b: must be a URL"),
        ((str(EXAMPLE), str(EXAMPLE) + "/."), ("--levels", "1"), "unknown argument '--levels 1'"),
        ((str(EXAMPLE), "--between", "true"), (), "--between true: requires one URL"),
        (("http://a", "http://b"), ("--rate", "2,4"), "--rate: runs at given rates can't be compared yet"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: tuple[str, ...], rest: tuple[str, ...], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare_command.main(given(*arguments, "--out", str(tmp_path / "o"), rest=rest)) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1


@pytest.fixture
def answering() -> Iterator[str]:
    """A server that lists a model, and nothing else."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"object": "list", "data": [{"id": "m"}]}' if self.path == "/v1/models" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("rest", [(), ("--levels", "1,2", "-L", "INFO")])
def test_no_server_is_loaded_before_all_are_known_to_answer(
    rest: tuple[str, ...],
    answering: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured = Measured()
    monkeypatch.setattr(compare_command, "run_by_probe", lambda *_: measured)
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    arguments = given(answering, nobody, "--out", str(tmp_path / "o"), rest=rest)
    assert compare_command.main(arguments) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert said.startswith(f"probe compare: URL {nobody}: connection refused; "), "what else runs here"
    assert said.count("\n") == 1
    assert measured.hosts == []


def test_servers_that_answer_are_measured(answering: str) -> None:
    check_servers([answering], ["--levels", "1,2", "--header", "X-A: 1", "--header=X-B: 2", "-u", "3"])
    with pytest.raises(SettingsError, match="--hold soon"):
        check_servers([answering], ["--hold", "soon"])
