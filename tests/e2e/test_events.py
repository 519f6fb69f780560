"""Events for a user's locustfile: Locust's `request` and this package's, once per reply each."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from probe_ext.measure.outcome import is_failure
from tests.e2e.conftest import Run, locust, start, stopped
from tests.e2e.test_endings import check_accounts

LISTENING = '''"""A user's own file: writes down what it hears, and has listeners that break."""

import json
from pathlib import Path

import locust

from probe_ext import StreamingUser, events

HEARD = Path(__file__).with_name("heard.jsonl").open("a", buffering=1)


def write(event, **fields):
    HEARD.write(json.dumps({"event": event, **fields}) + "\\n")


def broken(**_):
    raise RuntimeError("a listener of the user's breaks")


for hook in (events.first_token, events.token_gap, events.reply, locust.events.request):
    hook.add_listener(broken)  # called first: later listeners must still be called


@locust.events.request.add_listener
def _(request_type, name, response_time, exception, context, **_):
    reply, row = context["reply"], context["row"]
    write(
        "request",
        id=row.reply_id,
        type=request_type,
        name=name,
        response_time=response_time,
        expected=1000 * (row.end - row.due),
        failed=exception is not None,
        text=reply.text,
        marks=[reply.marks.due, reply.marks.sent, reply.marks.headers, reply.marks.end],
        pace=None if reply.pace is None else [reply.pace.first, reply.pace.last, reply.pace.events],
        tpot=row.tpot,
    )


@events.first_token.add_listener
def _(reply, row, seconds, **_):
    write("first_token", id=row.reply_id, seconds=seconds, ttft=row.first - row.sent)


@events.token_gap.add_listener
def _(reply, row, seconds, **_):
    write("token_gap", id=row.reply_id, seconds=seconds, events=[len(choice.at) for choice in reply.events])


@events.reply.add_listener
def _(reply, row, **_):
    write("reply", id=row.reply_id, outcome=reply.outcome.value, row=row.outcome)


class OnesOwnUser(StreamingUser):
    @locust.task
    def ask(self):
        self.llm.ask(self.prompts.next())

    @locust.task
    def ask_whole(self):
        self.llm.ask(self.prompts.next(), name="whole", stream=False)

    @locust.task
    def ask_for_too_much(self):
        self.llm.ask(self.prompts.next(), name="too much", max_tokens=10_000_000)


class Patient(StreamingUser):
    """Always in the middle of a reply, also at the end of the run."""

    fixed_count = 1

    @locust.task
    def ask_at_length(self):
        self.llm.ask(self.prompts.next(), name="at length", max_tokens=1800, ignore_eos=True)
'''


class Heard:
    """A run of a locustfile with listeners, and the lines they wrote."""

    def __init__(self, run: Run, path: Path) -> None:
        self.run = run
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
        self.rows = {row["reply_id"]: row for row in run.rows()}

    def of(self, event: str) -> dict[str, dict[str, Any]]:
        """Return an event's lines by reply; an event must not fire twice for one reply."""
        lines = [line for line in self.lines if line["event"] == event]
        found = {line["id"]: line for line in lines}
        assert len(found) == len(lines), f"{event} came twice for a reply"
        return found

    def where(self, column: str, *values: str) -> set[str]:
        return {name for name, row in self.rows.items() if row[column] in values}


@pytest.fixture(scope="module")
def heard(sim: str, tmp_path_factory: pytest.TempPathFactory) -> Heard:
    place = tmp_path_factory.mktemp("listening")
    file, out = place / "listening.py", place / "run"
    file.write_text(LISTENING)
    brief = ("--max-tokens", "24", "--input-tokens", "60", "-u", "6", "-r", "6", "--drain", "0s")
    failures_are_meant = ("--exit-code-on-error", "0")
    run = stopped(start(locust(sim, out, *brief, *failures_are_meant, file=file)), out, lambda rows: len(rows) >= 40)
    return Heard(run, place / "heard.jsonl")


def test_failing_listeners_do_no_harm(heard: Heard) -> None:
    assert heard.run.code == 0, heard.run.said
    assert "a listener of the user's breaks" in heard.run.said  # they did fail, and the log says so
    check_accounts(heard.run, nodes=1, least=12)
    whole = {name for name, row in heard.rows.items() if row["outcome"] == "complete"}
    assert whole & heard.where("scenario", "listening")
    assert whole & heard.where("scenario", "whole")


def test_locust_gets_one_request_event_per_finished_reply(heard: Heard) -> None:
    requests = heard.of("request")
    cut = heard.where("outcome", "ended_by_us")
    assert set(requests) == set(heard.rows) - cut
    assert len(requests) == heard.run.locust_total
    for name, line in requests.items():
        row = heard.rows[name]
        assert (line["type"], line["name"]) == ("LLM", row["scenario"])
        assert line["response_time"] == line["expected"]
        took = 1000 * (float(row["end"]) - float(row["due"]))
        assert math.isclose(line["response_time"], took, abs_tol=0.01)  # the file keeps microseconds
        assert line["failed"] == is_failure(row["outcome"])


def test_request_event_has_the_replys_timeline(heard: Heard) -> None:
    streamed = [line for name, line in heard.of("request").items() if heard.rows[name]["events"] not in {"", "0"}]
    assert len(streamed) >= 6
    for line in streamed:
        row = heard.rows[line["id"]]
        due, sent, headers, end = line["marks"]
        first, last, events = line["pace"]
        assert due <= sent <= headers <= first <= last <= end
        assert events == int(row["events"])
        assert line["text"].strip()
        assert math.isclose(first - sent, float(row["first"]) - float(row["sent"]), abs_tol=1e-5)


def test_first_token_and_gaps_fire_once_per_reply(heard: Heard) -> None:
    events = {name: int(row["events"] or 0) for name, row in heard.rows.items()}
    first, gaps = heard.of("first_token"), heard.of("token_gap")
    assert set(first) == {name for name, n in events.items() if n}
    assert set(gaps) == {name for name, n in events.items() if n > 1}
    assert 6 <= len(gaps) <= len(first) < len(heard.rows)  # whole replies have no token times
    for name, line in first.items():
        assert math.isclose(line["seconds"], line["ttft"], abs_tol=1e-9)
        row = heard.rows[name]
        assert math.isclose(line["seconds"], float(row["first"]) - float(row["sent"]), abs_tol=1e-5)
    for name, line in gaps.items():
        assert line["events"] == [events[name]]
        assert len(line["seconds"]) == events[name] - 1
        row = heard.rows[name]
        assert math.isclose(max(line["seconds"]), float(row["longest_gap"]), abs_tol=1e-5)
        assert math.isclose(sum(line["seconds"]), float(row["last"]) - float(row["first"]), abs_tol=1e-5)


def test_reply_event_fires_for_every_started_reply(heard: Heard) -> None:
    replies = heard.of("reply")
    assert {name: line["outcome"] for name, line in replies.items()} == {
        name: row["outcome"] for name, row in heard.rows.items()
    }
    assert all(line["outcome"] == line["row"] for line in replies.values())
    assert {"complete", "ended_by_us"} <= {line["outcome"] for line in replies.values()}
    assert any(line["outcome"] not in {"complete", "ended_by_us"} for line in replies.values())
