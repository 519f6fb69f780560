"""Others' load on the server: which levels are not judged, and that no run on an idle server is accused."""

import re
from typing import Any

import numpy as np
import pytest
from worlds import CHAT, evidence, good, manifest, reply, staircase, worker

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import ReplyRow, ServerRow
from probe_ext.report.outputs.gate import gate
from probe_ext.report.outputs.summary_and_junit import junit
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.judgement import Judgement
from probe_ext.verdict.values.level_result import LevelResult

URL = "http://server:8000/metrics"
STALLED = {"outcome": Outcome.STALLED, "tokens_out": 2}
STEPS = ((4, 45), (8, 45))
ROWS = [*good(4), *good(8, 45)]


def counted(
    rows: list[ReplyRow],
    until: float = 95.0,
    every: float = 1.0,
    *,
    url: str = URL,
    others: list[ReplyRow] | None = None,
    copies: int = 1,
    late: float = 0.0,
    quantities: tuple[str, ...] = ("requests_finished", "generation_tokens", "prompt_tokens"),
) -> list[ServerRow]:
    """Return a server's counters: requests and tokens at a reply's end, prompts at its first token."""
    served = [*rows, *(others or [])]
    end, first = (np.array([getattr(row, name) or row.end for row in served]) + late for name in ("end", "first"))
    weights = {
        "requests_finished": (end, np.array([row.outcome == "complete" for row in served], dtype=float) * copies),
        "generation_tokens": (end, np.array([row.tokens_out or 0 for row in served], dtype=float)),
        "prompt_tokens": (first, np.array([row.tokens_in or 0 for row in served], dtype=float)),
    }
    return [
        ServerRow(float(t), url, "0", name, 1000.0 + float(weight[at <= t].sum()))
        for name, (at, weight) in weights.items()
        if name in quantities
        for t in np.arange(0.0, until, every)
    ]


def judged(metrics: list[ServerRow], rows: list[ReplyRow] = ROWS, **stated: Any) -> Judgement:
    about = manifest(workers=[worker(started=len(rows))], options={"max_tokens": 20}, **stated)
    return judge(evidence(rows, staircase(*STEPS), server=metrics, manifest=about), CHAT)


def shares(verdict: Judgement) -> list[float | None]:
    return [level.others and level.others.share for level in verdict.levels]


def other_load(verdict: Judgement) -> tuple[str, bool]:
    return next((one.state, one.makes_invalid) for one in verdict.findings if one.check == "other_load")


def by(users: int, start: float, seconds: float, **changes: Any) -> list[ReplyRow]:
    """Return the replies of others, who send one request every 1.5 s, from second `start` on."""
    return [reply(user, start + 1.5 * n, **changes) for user in range(users) for n in range(int(seconds / 1.5))]


def why_others(verdict: Judgement) -> str:
    return next(one.why for one in verdict.findings if one.check == "other_load")


def test_requests_that_follow_this_runs_may_be_a_gateways() -> None:
    twice = judged(counted(ROWS, others=ROWS))
    assert twice.verdict == "invalid"
    assert re.search(r"at least 0\.9\d* more at every level", why_others(twice))
    somebody = judged(counted(ROWS, others=by(12, 0.0, 95.0)))
    assert "gateway" not in why_others(somebody)
    before = judged(counted(ROWS, others=ROWS), server=[{"url": URL, "metrics": "ok", "running_before": 3}])
    assert "gateway" not in why_others(before)


def test_a_run_beside_others_is_invalid_says_so_first_and_proves_nothing() -> None:
    verdict = judged(counted(ROWS, others=by(12, 0.0, 95.0)))
    assert verdict.verdict == "invalid"
    assert verdict.sentence.startswith(
        "Invalid measurement: Others used the server in every level: at 4 users, at least"
    )
    assert verdict.sentence.endswith("No answer: others used the server in every level.")
    assert [(level.state, level.reasons) for level in verdict.levels] == [("unproven", ("other_load",))] * 2
    assert (verdict.bracket, verdict.interval, verdict.suggestion) == ((None, None), None, None)
    assert verdict.diagnosis.bounds == ("other_load",)
    capacity = verdict.to_json()
    asked = gate(capacity, 2)
    assert asked is not None
    assert asked.outcome == "unproven"
    assert '<testcase classname="probe" name="the run is valid">\n    <failure' in junit(capacity, asked)


def test_levels_free_of_others_are_still_judged() -> None:
    verdict = judged(counted(ROWS, others=by(8, 45.0, 50.0)))
    assert [level.state for level in verdict.levels] == ["held", "unproven"]
    assert (verdict.verdict, verdict.bracket, other_load(verdict)) == ("valid", (4, None), ("fail", False))
    assert verdict.sentence.startswith("Others used the server at 8, which is not judged: at least 4 people")
    asked = gate(verdict.to_json(), 8)
    assert asked is not None
    assert asked.sentence.endswith("unproven, others used the server at 8 users")


def test_a_level_that_others_made_fail_is_not_called_failed() -> None:
    slowed = [*good(4), *(reply(user, 50.1 + 4.0 * n, first=53.0 + 4.0 * n) for user in range(8) for n in range(9))]
    alone = judged(counted(slowed), slowed)
    assert alone.levels[1].state == "failed"
    beside = judged(counted(slowed, others=by(8, 45.0, 50.0)), slowed)
    assert beside.levels[1].state == "unproven"
    assert beside.bracket == (4, None)


HONEST: dict[str, list[ServerRow]] = {
    "polled every second": counted(ROWS),
    "polled every 5 s": counted(ROWS, every=5.0),
    "scraped every 15 s": counted(ROWS, every=15.0),
    "counts a little late": counted(ROWS, late=0.9),
    "counted from a warm-up before": counted(ROWS, others=by(8, -9.0, 9.0)),
    "one other user": counted(ROWS, others=by(1, 0.0, 4.0)),
    "a monitor's short pings": counted(ROWS, others=by(4, 0.0, 95.0, tokens_out=1, tokens_in=5)),
    "no counter of requests or prompts": counted(ROWS, quantities=("generation_tokens",), others=by(4, 0.0, 95.0)),
    "every request counted by two servers": [
        *counted(ROWS, url="http://decode:1/metrics"),
        *counted([reply(row.user, row.sent or 0.0, tokens_out=1) for row in ROWS], url="http://prefill:1/metrics"),
    ],
    "another server named as well": [
        *counted(ROWS),
        *counted(by(30, 0.0, 95.0), url="http://elsewhere:8000/metrics"),
    ],
    "a restart in both levels": [
        ServerRow(row.t, row.url, row.engine, row.quantity, row.value - 1e5 * ((row.t > 20) + (row.t > 70)))
        for row in counted(ROWS, others=by(12, 0.0, 95.0))
    ],
    "replicas in turn": [
        ServerRow(row.t, row.url, row.engine, row.quantity, row.value + 500.0 * (int(row.t) % 3))
        for row in counted(ROWS)
    ],
}  # fmt: skip


@pytest.mark.untraced
@pytest.mark.parametrize("name", HONEST)
def test_no_honest_run_is_accused(name: str) -> None:
    verdict = judged(HONEST[name])
    assert verdict.verdict == "valid", name
    assert all(level.judged for level in verdict.levels)
    assert [level.state for level in verdict.levels] == ["held", "held"]


def test_aborted_and_failed_replies_may_have_cost_the_server_the_longest_reply() -> None:
    cut = [
        row if n % 3 else ReplyRow(**{**fields_of(row), **STALLED, "end": (row.sent or 0) + 0.5})
        for n, row in enumerate(ROWS)
    ]  # fmt: skip
    went_on = [reply(row.user, row.sent or 0.0) for row in ROWS]
    assert shares(judged(counted(went_on), cut)) == [0.0, 0.0]


@pytest.mark.parametrize("told", [None, 0])
def test_prompts_of_unknown_length_are_not_others(told: int | None) -> None:
    """Usage without prompt tokens, and an engine that counts no requests."""
    rows = [ReplyRow(**{**fields_of(row), "tokens_in": told}) for row in ROWS]
    verdict = judged(counted(ROWS, quantities=("generation_tokens", "prompt_tokens")), rows)
    assert shares(verdict) == [0.0, 0.0]
    assert [level.others and level.others.prompt_tokens for level in verdict.levels] == [None, None]


def fields_of(row: ReplyRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ReplyRow.__dataclass_fields__}


def test_each_choice_of_a_reply_may_count_as_a_request() -> None:
    four = [ReplyRow(**{**fields_of(row), "choices": 4}) for row in ROWS]
    assert shares(judged(counted(four, copies=4), four)) == [0.0, 0.0]
    assert shares(judged(counted(ROWS, copies=4), ROWS))[0] == 0.0, "tokens tell that nobody else was there"


def test_each_choice_of_a_reply_may_count_its_prompt() -> None:
    two = [ReplyRow(**{**fields_of(row), "choices": 2}) for row in ROWS]
    twice = [ReplyRow(**{**fields_of(row), "tokens_in": 200}) for row in ROWS]
    assert shares(judged(counted(twice, quantities=("generation_tokens", "prompt_tokens")), two)) == [0.0, 0.0]


def test_a_worker_out_of_contact_may_have_sent_more() -> None:
    rows = [row for row in ROWS if not (20 < (row.sent or 0) < 40)]
    stated = {"workers": [worker(started=len(rows), away=[[20.0, 40.0]])], "options": {"max_tokens": 20}}
    run = evidence(rows, staircase(*STEPS), server=counted(ROWS), manifest=manifest(**stated))
    first: LevelResult = judge(run, CHAT).levels[0]
    assert first.others is None


def test_without_usable_counters_nothing_is_concluded() -> None:
    verdict = judged([])
    assert (other_load(verdict), shares(verdict)) == (("unproven", False), [None, None])


def test_requests_before_the_first_user_are_a_warning() -> None:
    server = [{"url": URL, "metrics": "ok", "running_before": 3, "waiting_before": 1}]
    verdict = judged(counted(ROWS), server=server)
    found = next(one for one in verdict.findings if one.check == "other_load")
    assert (found.state, found.invalidates) == ("fail", False)
    assert found.why.startswith("Before the first user, 3 requests were running and 1 waiting.")


def test_a_few_tokens_more_are_within_the_limit() -> None:
    verdict = judged(counted(ROWS, others=by(1, 45.0, 50.0, tokens_out=12)))
    assert verdict.levels[1].judged
    assert other_load(verdict)[0] == "pass"
