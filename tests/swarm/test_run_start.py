"""Only one run at a time is prepared, even if Start or Stop is pressed again in the web UI."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from swarm_fakes import environment

from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import read_options
from probe_ext.swarm import run_start
from probe_ext.swarm.master.coordinator import Coordinator
from probe_ext.swarm.master.run_phase import Phase
from probe_ext.swarm.preparation.preflight import PreparedRun
from probe_ext.swarm.run_start import RunStart
from probe_ext.swarm.users.process_state import ProcessState


def a_start(meanwhile: Callable[[RunStart], None], tmp_path: Path, *, headless: bool = False) -> RunStart:
    """A start whose server is slow to answer: `meanwhile` happens while it is asked, and while it warms up."""
    display: Any = SimpleNamespace(preparing=None, refused=lambda _: None)
    runner = SimpleNamespace(shape_greenlet=None, stop=lambda: None, user_count=0)
    process = ProcessState(environment(runner, headless=headless, web_ui=None), "master")
    start = RunStart(Coordinator(process), display)
    options = read_options({})
    found: Any = SimpleNamespace(
        model="m", prompts={}, refusal=None, negotiation=None, workload=None, context=None, by_host=()
    )
    prepared = PreparedRun(options, found, tmp_path)

    def slow(*_: Any) -> PreparedRun:
        meanwhile(start)
        return prepared

    start._preflight = SimpleNamespace(prepare=slow, warm_up=slow, scenario=lambda: "capacity")  # type: ignore[assignment]
    return start


def another_form(refusals: list[str]) -> Callable[[RunStart], None]:
    def press_start(start: RunStart) -> None:
        with pytest.raises(SettingsError) as refusal:
            start.take_form(read_options({}), "http://x")
        refusals.append(str(refusal.value))

    return press_start


def test_refuses_a_second_form_until_the_first_run_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals: list[str] = []
    monkeypatch.setattr(run_start, "ActiveRun", lambda *_: SimpleNamespace())
    start = a_start(another_form(refusals), tmp_path)
    start._coordinator.begin = lambda _: start._phase.enter(Phase.RUNNING)  # type: ignore[method-assign]
    start._display.began = lambda _: None  # type: ignore[method-assign]
    start.take_form(read_options({}), "http://x")
    start.on_test_start()
    assert len(refusals) == 2
    assert all("already being started" in why for why in refusals)
    assert start._phase.now is Phase.RUNNING


def test_no_run_begins_once_a_signal_has_ended_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes while the server is asked; the process goes on for a moment, and has said that no run began."""

    def signal(start: RunStart) -> None:
        start._coordinator.signal_reason = "interrupted"

    def no_run(*_: Any) -> None:
        pytest.fail("a run has begun")

    monkeypatch.setattr(run_start, "ActiveRun", no_run)
    start = a_start(signal, tmp_path, headless=True)
    start._prepared = start._preflight.prepare(read_options({}), "http://x")
    starting = gevent.spawn(start.on_test_start)
    gevent.sleep(0.01)
    assert not starting.ready(), "Locust would send users"
    starting.kill()


def test_allows_another_form_after_a_failed_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: RunStart) -> None:
        raise SettingsError("no such model")

    monkeypatch.setattr("gevent.spawn", lambda *_: None)
    start = a_start(fail, tmp_path)
    with pytest.raises(SettingsError, match="no such model"):
        start.take_form(read_options({}), "http://x")
    assert start._phase.now is Phase.IDLE
    start.on_test_start()
    assert start._phase.now is Phase.IDLE


def test_stop_refuses_the_form_that_is_being_prepared(tmp_path: Path) -> None:
    start = a_start(lambda start: start.cancel(), tmp_path)
    with pytest.raises(SettingsError, match="stopped before it began"):
        start.take_form(read_options({}), "http://x")
    assert start._phase.now is Phase.IDLE


def test_stop_during_the_warm_up_stops_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_start, "ActiveRun", lambda *_: pytest.fail("the run must not begin"))
    stopped: list[object] = []
    monkeypatch.setattr("gevent.spawn", lambda function, *_: stopped.append(function))
    start = a_start(lambda _: None, tmp_path)
    start.take_form(read_options({}), "http://x")
    warm_up = start._preflight.warm_up
    start._preflight.warm_up = lambda prepared: start.cancel() or warm_up(prepared)  # type: ignore[func-returns-value,method-assign]
    start.on_test_start()
    assert stopped == [start._stop_test]
    assert start._phase.now is Phase.IDLE


def test_stop_between_preparation_and_start_drops_the_prepared_run(tmp_path: Path) -> None:
    start = a_start(lambda _: None, tmp_path)
    start.take_form(read_options({}), "http://x")
    assert start._phase.now is Phase.PREPARED
    start.cancel()
    assert start._prepared is None
    assert start._phase.now is Phase.IDLE


def test_a_server_that_answers_nothing_ends_the_run_in_the_web_ui_with_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = a_start(lambda _: None, tmp_path)
    said: list[object] = []
    stopped: list[object] = []
    monkeypatch.setattr("gevent.spawn", lambda function, *_: stopped.append(function))
    monkeypatch.setattr(run_start, "view_of", lambda _: None)
    made = SimpleNamespace(finish=lambda: said.append("finished"), directory=tmp_path, options=read_options({}))
    monkeypatch.setattr(run_start, "ActiveRun", lambda *_: made)
    start._display = SimpleNamespace(  # type: ignore[assignment]
        began=lambda _: said.append("began"),
        ended=lambda: said.append("ended"),
        refused=said.append,
        report=lambda directory, _: said.append(directory),
    )
    start.take_form(read_options({}), "http://x")
    assert start._prepared is not None
    start._prepared.preparation.refusal = "HTTP 400: tenant is required."  # type: ignore[misc]
    start.on_test_start()
    assert said == ["began", "finished", "ended", tmp_path, "HTTP 400: tenant is required."]
    assert made.end_reason == "no_answer"
    assert start._environment.process_exit_code == 3
    assert stopped == [start._stop_test]
    assert start._phase.now is Phase.IDLE


def test_a_form_is_refused_while_a_worker_has_another_prompt_file(tmp_path: Path) -> None:
    start = a_start(lambda _: None, tmp_path)
    said = "worker w1 on box-b: p.txt: no such file"

    def differs() -> None:
        raise SettingsError(said)

    start._coordinator.await_files = differs  # type: ignore[method-assign]
    with pytest.raises(SettingsError, match=said):
        start.take_form(read_options({}), "http://x")
    assert start._phase.now is Phase.IDLE
    assert start._prepared is None


def test_a_kind_that_is_not_streamed_is_not_told_that_streaming_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The warm-up's requests are those of the longest kind, which may ask for whole answers."""
    judged: list[Any] = []
    monkeypatch.setattr(run_start, "streaming", judged.append)
    monkeypatch.setattr(run_start, "machine_findings", lambda *_, **__: [])
    monkeypatch.setattr(run_start, "lines_to_print", lambda _: [])
    start = a_start(lambda _: None, tmp_path)
    start._environment.parsed_options = SimpleNamespace(processes=1, expect_workers=1, num_users=1, run_time=None)
    for no_stream in (True, False):
        workload = SimpleNamespace(sample=read_options({"no_stream": str(no_stream)}))
        found: Any = SimpleNamespace(workload=workload, first_reply="a reply")
        start._print_what_to_fix(PreparedRun(read_options({}), found, tmp_path))
    assert judged == [["a reply"]]


def test_a_server_is_said_to_be_tested_once_that_is_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def refuse(*_: Any) -> PreparedRun:
        raise SettingsError("--model nope: http://x does not serve it")

    start = a_start(lambda _: None, tmp_path, headless=True)
    monkeypatch.setattr(run_start, "choose_host", lambda *_: "testing vLLM at http://x")
    monkeypatch.setattr(run_start, "print_line", said.append)
    monkeypatch.setattr(start, "refuse", said.append)
    monkeypatch.setattr(start, "_hold_if_ending", lambda: said.append("prepared"))
    start._preflight = SimpleNamespace(prepare=refuse, opens_stream=lambda: True, workload=lambda: None)  # type: ignore[assignment]
    start._process.read_options = lambda: read_options({})  # type: ignore[method-assign]
    start._environment.host = "http://x"
    start.prepare()
    assert said == ["--model nope: http://x does not serve it"]
    said.clear()
    start._preflight.prepare = lambda *_: None  # type: ignore[method-assign,assignment,return-value]
    start.prepare()
    assert said[:2] == ["testing vLLM at http://x", "prepared"]
