"""What is said of a replayed trace, whether all of it has a row, and how agents are called."""

from dataclasses import replace
from typing import Any

import pytest
from worlds import CHAT, evidence, good, manifest, reply, staircase, worker

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import ReplyRow, UserRow
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.judgement import Judgement

SECONDS, RATE = 60, 2.0
TRACE = {
    "form": "mooncake", "requests": 120, "sessions": 40, "seconds": 60.0, "left_out": {"without a reply": 3},
    "passes": [{"speed": 1.0, "seconds": 60.0, "requests": 120}],
}  # fmt: skip


def rows(late: float = 0.0, **columns: Any) -> list[ReplyRow]:
    """Return a row each half second, every tenth of which was sent two seconds after it was due."""
    made = []
    for i in range(120):
        due, waited = i / RATE, late + (2.0 if i % 10 == 0 else 0.0)
        one = replace(reply(i, due + waited), due=due, late=late, tokens_in=1000, tokens_cached=300, tokens_shared=400)
        made.append(replace(one, **columns))
    return made


def judged(replies: list[ReplyRow], due: int = 120, trace: dict[str, Any] | None = None) -> Judgement:
    users = [UserRow(float(t), 64, 64, "running", RATE) for t in range(SECONDS)]
    segments = [
        {"rate": RATE, "from": 0.0, "workers": ["w1"], "requests": due},
        {"rate": 0.0, "from": 60.0, "requests": 0},
    ]
    recorded = manifest(
        workers=[worker(started=len(replies))],
        workload={"name": "w", "kinds": [{"name": "trace"}], "trace": trace or TRACE},
        arrivals={"form": "trace", "seed": 1, "ended": 61.0, "segments": segments},
    )
    return judge(evidence(replies, [*users, UserRow(60.0, 64, 64, "stopping", 0.0)], manifest=recorded), CHAT)


def test_sharing_and_lateness_are_said_as_they_were() -> None:
    verdict = judged(rows(late=0.05))
    trace = verdict.trace
    assert trace is not None
    assert (trace.requests, trace.sessions, trace.replayed, trace.not_sent, trace.left_out) == (120, 40, 120, 0, 3)
    assert (trace.shared_meant, trace.shared_found) == (0.4, 0.3)
    assert (trace.behind_median, trace.behind_max) == (pytest.approx(0.05), pytest.approx(2.05))
    assert trace.generator_late_max == pytest.approx(0.05)
    assert "40 % were in earlier prompts of the trace as well; the server found 30 %" in trace.sentence
    assert "the latest was 2.0 s behind" in trace.sentence or "the latest was 2.1 s behind" in trace.sentence
    assert verdict.next_command is None, "an option cannot change what a trace says"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, " The latest was 50 ms behind."),
        (2, "Half of the requests were sent within 50 ms of their time; the latest was 50 ms behind."),
        (20, "Half of the requests were sent within 50 ms of their time, 95 % within 2."),
    ],
)
def test_of_few_requests_no_percentile_is_told(number: int, said: str) -> None:
    trace = judged(rows(late=0.05)[1 : 1 + number]).trace
    assert trace is not None
    assert said in trace.sentence
    assert (trace.behind_p95 is None) is (number < 20)


def test_a_wait_for_the_turn_before_counts_as_a_wait_for_the_first_word() -> None:
    on_time = judged([replace(row, due=row.sent or 0.0) for row in rows()])
    behind = judged(rows())
    assert on_time.levels[0].served_share == 1.0
    assert behind.levels[0].served_share == pytest.approx(0.9, abs=0.02)


def test_a_server_that_does_not_tell_leaves_what_was_meant() -> None:
    trace = judged(rows(tokens_cached=None)).trace
    assert trace is not None
    assert (trace.shared_meant, trace.shared_found) == (0.4, None)
    unmeasured = judged(rows(tokens_shared=None)).trace
    assert unmeasured is not None
    assert (unmeasured.shared_meant, unmeasured.shared_found) == (None, None)


def test_what_was_not_sent_is_counted() -> None:
    lost = {"sent": None, "headers": None, "first": None, "last": None, "outcome": str(Outcome.NOT_SENT)}
    made = rows()
    trace = judged([replace(made[0], **lost), *made[1:]]).trace
    assert trace is not None
    assert trace.not_sent == 1
    assert "1 request could not be sent in time, and counts as broken." in trace.sentence


def arrivals(verdict: Judgement) -> tuple[str, str]:
    (finding,) = [one for one in verdict.findings if one.check == "arrivals"]
    return finding.state, finding.why


def test_every_request_that_was_due_must_have_a_row() -> None:
    assert arrivals(judged(rows()))[0] == "pass"
    state, why = arrivals(judged(rows()[1:]))
    assert (state, why) == ("fail", "The run has 119 rows for the 120 requests of the trace that were due.")
    assert arrivals(judged(rows(), due=119))[0] == "fail"
    assert judged(rows()[:100]).verdict == "invalid"


def test_a_run_without_a_trace_says_nothing_of_one() -> None:
    replies = good(4, 0.0, 40.0)
    assert judge(evidence(replies, staircase((4, 40.0))), CHAT).trace is None
    assert judged(rows(), trace={"file": "x"}).trace is None


@pytest.mark.parametrize(("agents", "who"), [(2, "agents"), (1, "people"), (0, "people")])
def test_users_are_called_agents_where_all_kinds_are(agents: int, who: str) -> None:
    kinds = [{"name": f"k{i}", "share": 0.5, "agent": {"tool_time": 1} if i < agents else None} for i in range(2)]
    replies = good(4, 0.0, 40.0)
    recorded = manifest(workers=[worker(started=len(replies))], workload={"name": "w", "kinds": kinds})
    verdict = judge(evidence(replies, staircase((4, 40.0)), manifest=recorded), CHAT)
    assert verdict.who == who
    assert ("agents" in verdict.sentence) == (who == "agents")
