"""Calibration: measured with real users against a target that knows the true times, saved, and compared with a plan."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from probe_ext.cli import main
from probe_ext.inspection.machine import calibration_store
from probe_ext.swarm.commands import calibrate_command


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def ask(url: str, tokens: int) -> bytes:
    """Return the bytes of one streamed reply."""
    body = b'{"model":"paced","stream":true,"max_tokens":%d}' % tokens
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=300) as sock:
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        said = b""
        while not said.endswith(b"0\r\n\r\n"):
            said += sock.recv(65536)
    return said


def truth(said: bytes) -> tuple[int, list[int]]:
    """Return when the request arrived and when each token was sent, in nanoseconds."""
    first, *others = re.findall(rb'"content":" ([0-9:]+)"', said)
    arrived, handed = map(int, first.split(b":"))
    return arrived, [handed, *map(int, others)]


def test_target_paces_tokens_and_reports_their_times() -> None:
    with calibrate_command.target(["--rate", "200", "--first", "0.02"]) as url:
        arrived, tokens = truth(ask(url, 20))
    assert len(tokens) == 20
    assert tokens[0] - arrived >= 0.02e9
    assert tokens[-1] - arrived >= 0.02e9 + 19 * 0.005e9
    assert all(later > earlier for earlier, later in pairwise(tokens))


def test_target_counts_what_is_open_and_what_is_late() -> None:
    totals: dict[str, Any] = {}
    with calibrate_command.target(["--rate", "10", "--first", "0.01"], totals) as url, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: ask(url, 10), range(3)))
        ask(url, 2)
    assert (totals["replies"], totals["tokens"], totals["most_open"]) == (4, 32, 3)
    assert 0 <= totals["late"] <= 32
    with calibrate_command.target(["--rate", "1000000000", "--first", "0"], totals) as url:
        ask(url, 50)
    assert totals["late"] > 40, "no program sends a token every nanosecond"


def test_null_target_answers_at_once() -> None:
    with calibrate_command.target(["--null"]) as url:
        _, tokens = truth(ask(url, 50))
    assert len(tokens) == 50


def test_target_ends_with_its_parent() -> None:
    script = "import subprocess, sys; command = [sys.executable, '-m', 'probe_ext.sim.calibration_server']; "
    script += "p = subprocess.Popen(command, stdout=1); p.poll(); import time; time.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        assert int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        rest = parent.stdout.read()  # ends when the target, which also holds the pipe, has ended
    finally:
        parent.kill()
    assert json.loads(rest)["replies"] == 0


def measured(seconds: int = 1) -> dict[str, Any]:
    """Calibrate, for longer if a busy machine had no whole reply by then."""
    assert main(["calibrate", "--quick", "--seconds", str(seconds)]) == 0
    found = calibration_store.load()
    assert found is not None
    return found if found["gap_error_p50"] or seconds > 60 else measured(4 * seconds)


def test_calibration_measures_users_and_is_saved(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured()
    shown = capsys.readouterr().out
    assert tuple(found) == calibrate_command.KEYS
    assert 0 < found["gap_error_p50"] <= found["gap_error_p99"] <= found["gap_error_max"]
    assert 0 < found["ttft_error_p50"] <= found["ttft_error_max"]
    assert found["cpu_per_reply"] > 0
    assert found["tokens_per_second"] is None
    assert "TTFT error" in shown
    assert str(calibration_store.place()) in shown


@pytest.mark.parametrize("seconds", ["-1", "0.5", "inf", "nan", "soon"])
def test_rejects_an_invalid_trial_length(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["calibrate", "--seconds", seconds])
    assert left.value.code == 2
    assert f"--seconds: {seconds!r} is not a valid number of seconds" in capsys.readouterr().err


def test_interrupted_calibration_stops_its_load(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> tuple[str, str]:
        raise KeyboardInterrupt

    line = [sys.executable, "-c", "import time; time.sleep(600)"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "communicate", interrupted)
        with pytest.raises(KeyboardInterrupt):  # the process is waited for
            calibrate_command._run(line, {})


def test_quick_calibration_keeps_earlier_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"outcome": "complete", "events": "1", "reads": "1", "reads_unresolved": "0"}
    one = calibrate_command.Trial([row], 1.0, 1.0, 0.001, 0.001, {"ttft": [], "gaps": []}, True)
    monkeypatch.setattr(calibrate_command, "trial", lambda *_, **__: one)
    monkeypatch.setattr(calibration_store, "load", lambda: {"tokens_per_second": 9000.0, "open_streams": 500})
    found = calibrate_command.calibrate(1.0, quick=True)
    assert (found["tokens_per_second"], found["open_streams"]) == (9000.0, 500)
    monkeypatch.setattr(calibration_store, "load", lambda: None)
    assert calibrate_command.calibrate(1.0, quick=True)["open_streams"] is None
    assert not [line for line in calibrate_command.summary(found) if "without delay" in line], (
        "the earlier one did not tell"
    )


def test_errors_are_differences_from_true_times() -> None:
    from probe_ext.swarm.commands.calibration_users import errors, lateness  # noqa: PLC0415 - loads Locust

    ttft, gaps = errors(1.0, [1.050002, 1.0700, 1.0905], " 1000000000:1050000000 1070000000 1090000000")
    assert ttft == pytest.approx(2.0, abs=0.01)
    assert gaps == pytest.approx([2.0, 500.0], abs=0.01)
    late = lateness([1.25, 1.27, 1.29], " 1000000000:1050000000 1070000000 1090000000")
    assert late == pytest.approx([0.2, 0.2, 0.2]), "what all tokens are late by is told, too"


def test_failed_trial_gives_no_calibration(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(calibrate_command, "_LOCUSTFILE", Path("/nowhere.py"))
    assert main(["calibrate", "--quick", "--seconds", "1"]) == 3
    assert "no such file" in capsys.readouterr().err
    assert calibration_store.load() is None


def trial(lag: float, streams: int, unresolved: int = 0) -> calibrate_command.Trial:
    one = {"outcome": "complete", "events": "100", "reads": "100", "reads_unresolved": str(unresolved)}
    rows = [one] * streams
    return calibrate_command.Trial(rows, 1.0, 10.0, lag, lag / 10, {}, True)


def test_limits_come_from_the_last_sustained_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    lags = {25: 0.005, 50: 0.010, 100: 0.011, 200: 0.009, 400: 1 / calibrate_command.TOKEN_RATE}

    def run(rate: float, *, users: int, **__: Any) -> calibrate_command.Trial:
        asked.append(users)
        return replace(trial(lags.get(users, 1.01 / rate), users), max_lag=1 / rate)

    monkeypatch.setattr(calibrate_command, "trial", run)
    found = calibrate_command.find_limits(
        calibrate_command._token_loads(1.0), lambda one: one.total("events") / one.seconds
    )
    assert (found.on_time, found.kept_up) == (50 * 100 / 10, 400 * 100 / 10), "one that is late ends being on time"
    assert asked == [25, 50, 100, 100, 200, 400, 800, 800], "what is too much is tried twice, and nothing after it"
    assert calibrate_command.find_limits(calibrate_command._stream_loads(1.0)) == calibrate_command.Limits(0, 100), (
        "never without delay"
    )
    lags |= {250: 0.001, 500: 0.001}
    lags[100] = 0.001
    assert calibrate_command.find_limits(calibrate_command._stream_loads(1.0)) == calibrate_command.Limits(500, 500)
    lags |= {1000: 0.041, 2000: 0.49}
    assert calibrate_command.find_limits(calibrate_command._stream_loads(1.0)) == calibrate_command.Limits(500, 2000), (
        "of slow streams, the next token comes after half a second"
    )


def test_a_target_that_falls_behind_is_not_taken_for_the_workers_limit() -> None:
    behind = replace(trial(0.001, 1), target_fell_behind=True)
    trials = {1: [trial(0.001, 1)], 2: [trial(0.001, 1), behind], 3: [behind, behind], 4: []}
    loads = [(much, lambda much=much: trials[much].pop()) for much in trials]
    assert calibrate_command.find_limits(loads) == calibrate_command.Limits(2, 2, of_target=True)
    (said,) = calibrate_command._limits("open streams", 2000.0, 500.0, of_target=True)
    assert "keeps up with at least 2,000 open streams (at more, the calibration's own server fell behind), " in said
    why = calibration_store.shortage({**FLOOR, calibration_store.OF_TARGET: "tokens_per_second"}, 201, 1)
    assert "was measured only up to 10,000, where" in str(why)
    own = calibration_store.shortage({**FLOOR, calibration_store.OF_TARGET: "open_streams"}, 201, 1)
    assert "keeps up with 10,000" in str(own)


def test_a_trial_knows_whether_its_target_fell_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counted = {"tokens": 100, "late": 1, "most_open": 7}

    @contextmanager
    def target(arguments: list[str], totals: dict[str, Any]) -> Iterator[str]:
        yield "http://127.0.0.1:1"
        totals.update(counted)

    def run(line: list[str], _: Any) -> tuple[int, str]:
        out = Path(line[line.index("--out") + 1])
        out.mkdir()
        (out / "run.json").write_text('{"workers": [], "duration": 1.0}')
        (out / "requests.csv").write_text("outcome\n")
        return 0, ""

    monkeypatch.setattr(calibrate_command, "target", target)
    monkeypatch.setattr(calibrate_command, "_run", run)
    done = calibrate_command.trial(2.0, users=1, seconds=1.0, tokens=1)
    assert (done.target_fell_behind, done.max_lag, done.most_open) == (False, 0.5, 7)
    counted["late"] = 2
    assert calibrate_command.trial(2.0, users=1, seconds=1.0, tokens=1).target_fell_behind


def test_single_failed_trial_is_repeated() -> None:
    lags = iter([0.1, 0.001, 0.015, 0.001, 0.002, 0.1, 0.1])
    loads = [(much, lambda: trial(next(lags), 1)) for much in (1, 2, 3, 4)]
    assert calibrate_command.find_limits(loads) == calibrate_command.Limits(3, 3)


def test_failed_replies_mean_not_keeping_up() -> None:
    assert trial(0.001, 1).keeps_up
    assert trial(0.001, 1, unresolved=1).keeps_up
    assert not trial(0.001, 1, unresolved=2).keeps_up
    cut = [{"outcome": "cut", "reads": "1", "reads_unresolved": "0"}]
    assert not calibrate_command.Trial(cut, 1.0, 1.0, 0.001, 0.0, {}, True).keeps_up
    assert not calibrate_command.Trial([], 1.0, 1.0, None, None, {}, False).keeps_up


@pytest.mark.parametrize(
    ("kept_up", "on_time", "said"),
    [
        (None, None, []),
        (9000.0, None, ["one worker keeps up with 9,000 tokens/s"]),
        (9000.0, 2000.0, ["one worker keeps up with 9,000 tokens/s, without delay up to 2,000"]),
        (9000.0, 0, ["one worker keeps up with 9,000 tokens/s, always with delay"]),
        (0, 0, ["one worker does not keep up with even the smallest load tried (tokens/s)"]),
    ],
)
def test_unknown_limits_are_not_printed(kept_up: float | None, on_time: float | None, said: list[str]) -> None:
    assert calibrate_command._limits("tokens/s", kept_up, on_time) == said


def test_lag_comes_from_the_target_without_kernel_timestamps(tmp_path: Path) -> None:
    (tmp_path / "requests.csv").write_text("outcome\n")
    book = {"ttft": [], "gaps": [0.0] * 100, "late": [0.2] * 100, "lag": [0.001], "overdue": [0.0001]}
    for stamps, lag, overdue in (("read", 0.2, 0.2), ("kernel", 0.001, 0.0001)):
        workers = [{"cpu_seconds": 1.0, "receive_stamps": stamps}]
        (tmp_path / "run.json").write_text(json.dumps({"workers": workers, "duration": 1.0}))
        found = calibrate_command._read(tmp_path, book)
        assert (found.lag_p99, found.overdue_p99) == (lag, overdue)


FLOOR = {"tokens_per_second": 10_000.0, "open_streams": 1000}

PUNCTUAL = {**FLOOR, "tokens_per_second_on_time": 3000.0, "open_streams_on_time": 500}


@pytest.mark.parametrize(
    ("found", "users", "workers", "says"),
    [
        (None, 10**6, 1, None),
        (FLOOR, 200, 1, None),
        (FLOOR, 201, 1, "2 workers"),
        (FLOOR, 400, 2, None),
        (FLOOR, 2500, 1, "13 workers"),
        ({**FLOOR, "tokens_per_second": None}, 2500, 1, "3 workers"),
        ({"tokens_per_second": None, "open_streams": None}, 10**6, 1, None),
        ({"tokens_per_second": "many", "open_streams": [5]}, 10**6, 1, None),
        (PUNCTUAL, 60, 1, None),
        (PUNCTUAL, 61, 1, "reads without delay up to 3,000: use 2 workers (--processes 2) (probe calibrate)"),
        ({**PUNCTUAL, "receive_stamps": "kernel"}, 100, 1, "(probe calibrate; kernel timestamps keep times accurate)"),
        (PUNCTUAL, 121, 1, "use 3 workers on several machines, as this one has too few cores"),
        ({**PUNCTUAL, "tokens_per_second_on_time": 0}, 24, 1, None),
        (
            {**PUNCTUAL, "tokens_per_second_on_time": 0},
            25,
            1,
            "for each of 25 users; a worker on this machine delayed even 1,250: run the workers on a less busy machine",
        ),
        ({**FLOOR, "open_streams": 0, "tokens_per_second": None}, 99, 1, None),
        (
            {**FLOOR, "open_streams": 0},
            100,
            1,
            "100 open streams; a worker on this machine did not keep up with even 100",
        ),
        (PUNCTUAL, 201, 1, "keeps up with 10,000"),
        (
            {**PUNCTUAL, "open_streams_on_time": 30},
            31,
            1,
            "31 open streams; a worker on this machine reads without delay",
        ),
    ],
)
def test_shortage_says_how_many_workers_are_needed(
    found: dict[str, Any] | None, users: int, workers: int, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_store.os, "cpu_count", lambda: 2)
    why = calibration_store.shortage(found, users, workers)
    assert (why is None) if says is None else (why is not None and says in why)


@pytest.mark.parametrize(("cores", "said"), [(1, ", 1 core"), (16, ", 16 cores")])
def test_one_core_is_singular(cores: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_store.os, "cpu_count", lambda: cores)
    assert calibration_store.key()["processor"].endswith(said)


def test_lightest_load_is_tried_first() -> None:
    first = {
        "open_streams": calibrate_command.OPEN_STREAMS[0],
        "tokens_per_second": calibrate_command.TOKEN_STREAMS[0] * calibrate_command.TOKEN_RATE,
    }
    assert first == calibration_store.LIGHTEST


def test_unreadable_calibration_is_ignored() -> None:
    assert calibration_store.load() is None
    calibration_store.place().parent.mkdir(parents=True)
    for text in ("{", "[]", ""):
        calibration_store.place().write_text(text)
        assert calibration_store.load() is None


def test_calibration_of_other_versions_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    calibration_store.save(FLOOR)
    assert calibration_store.load() == FLOOR
    monkeypatch.setattr(calibration_store, "version", lambda _: "0.0.1")
    assert calibration_store.load() is None


def test_a_calibration_holds_for_the_way_in_which_sockets_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_store, "reading_path", lambda: "native")
    calibration_store.save(FLOOR)
    monkeypatch.setattr(calibration_store, "reading_path", lambda: "python: PROBE_NATIVE=0")
    assert calibration_store.load() is None
    calibration_store.save(FLOOR)
    monkeypatch.setattr(calibration_store, "reading_path", lambda: "python: not built")
    assert calibration_store.load() == FLOOR, "why Python reads makes no difference"
