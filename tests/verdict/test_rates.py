"""The verdict of an open stream: levels by asked rate, in requests per second, with nothing said of people."""

import heapq
import json
from dataclasses import replace
from random import Random

import jsonschema
import numpy as np
import pytest
from worlds import CHAT, evidence, manifest, reply, worker

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.rate import Rate
from probe_ext.measure.table_rows import ReplyRow, UserRow
from probe_ext.report.inputs.compared_runs import load_set_up
from probe_ext.report.outputs.capacity_schema import capacity_schema
from probe_ext.report.outputs.gate import gate
from probe_ext.settings.errors import SettingsError
from probe_ext.verdict.inference.observations import cut_into_blocks, replies_at_once, visit_from_grades
from probe_ext.verdict.judge import judge
from probe_ext.verdict.levels.find_levels import backlog_times, find_levels
from probe_ext.verdict.phrasing.plurals import people, things
from probe_ext.verdict.results.stream_figures import Schedule, compare_arrivals
from probe_ext.verdict.results.team_size import Given
from probe_ext.workload.arrival_times import ArrivalForm, segment_seed

SLOTS, SERVICE = 4, 1.0
"""The server answers four requests at once, each in a second: 4 requests/s are its limit."""
HOLD, SEED = 60.0, 11


def stream(*rates: float, hold: float = HOLD, give_up: float = 1e9) -> tuple[list[ReplyRow], list[UserRow]]:
    """Return the replies of a run that holds each rate in turn, and its samples of the load."""
    random, free, rows = Random(SEED), [0.0] * SLOTS, []
    for number, rate in enumerate(rates):
        for at in ArrivalForm().times(rate, segment_seed(SEED, number)):
            if at >= hold:
                break
            due = number * hold + at
            start = max(due, free[0])
            if start - due > give_up:
                rows.append(unsent(len(rows), due, due + give_up))
                continue
            heapq.heapreplace(free, start + random.uniform(0.9, 1.1) * SERVICE)
            rows.append(reply(len(rows) % 64, due, first=start + 0.1))
    seconds = range(int(hold * len(rates)))
    users = [UserRow(float(t), 64, 64, "running", rates[int(t // hold)]) for t in seconds]
    return rows, [*users, UserRow(hold * len(rates), 64, 64, "stopping", 0.0)]


def unsent(number: int, due: float, end: float) -> ReplyRow:
    lost = {"sent": None, "headers": None, "first": None, "first_visible": None, "last": None, "tpot": None}
    return replace(
        reply(0, due), reply_id=f"w1:u{number}", user="w1:0", end=end, outcome=str(Outcome.NOT_SENT), events=0,
        tokens_out=None, longest_gap=None, gap_start=None, status=None, finish_reason=None, **lost,
    )  # fmt: skip


def run(*rates: float, hold: float = HOLD, give_up: float = 1e9, **changes):
    rows, users = stream(*rates, hold=hold, give_up=give_up)
    segments = [{"rate": rate, "from": i * hold, "workers": ["w1"]} for i, rate in enumerate(rates)]
    plan = {"levels": [], "rates": list(rates), "hold": hold - 5, "settle": 5.0, "min_replies": 3}
    arrivals = {"form": "poisson", "seed": SEED, "give_up": 10.0, "ended": hold * len(rates), "segments": segments}
    stated = manifest(workers=[worker(started=len(rows))], plan=plan, arrivals=arrivals, **changes)
    return evidence(rows, users, manifest=stated)


@pytest.fixture(scope="module")
def verdict():
    return judge(run(1, 2, 4.8), CHAT, given=Given(think_time=30.0, price_per_hour=2.0))


def test_the_answer_is_in_requests_per_second(verdict):
    capacity = verdict.to_json()
    assert capacity["load"] == "rate"
    assert capacity["served_rate"] == capacity["rate_bracket"][0] == 2.0
    assert capacity["rate_bracket"][1] == 4.8
    assert capacity["rate_interval"][0] == 2.0
    assert verdict.sentence.startswith("At least 2 requests per second are served; 4.8 are too many.")
    assert "people" not in verdict.sentence
    assert "users" not in verdict.sentence


def test_nobody_can_take_a_rate_for_users(verdict):
    capacity = verdict.to_json()
    assert capacity["served_users"] is capacity["estimate"] is capacity["interval"] is capacity["suggestion"] is None
    assert capacity["bracket"] == [None, None]
    assert all(level["users"] is level["users_low"] is level["users_high"] is None for level in capacity["levels"])
    assert [level["rate"] for level in capacity["levels"]] == [1.0, 2.0, 4.8]
    assert "4800" not in json.dumps(capacity)


def test_capacity_json_of_rates_agrees_with_its_schema(verdict):
    jsonschema.validate(verdict.to_json(), capacity_schema())


def test_people_are_only_the_cautious_range(verdict):
    assert verdict.team is not None
    assert "computed from 2 requests/s" in verdict.team.sentence
    assert verdict.team.people_low < verdict.team.people_high
    in_flight = verdict.team.in_flight
    assert verdict.team.people_high < in_flight / verdict.team.waiting_share, "more than fit on average"
    assert verdict.cost is not None
    assert verdict.cost.per_user_hour is None
    assert verdict.cost.per_thousand_requests == pytest.approx(1000 * 2.0 / (3600 * 2))


def test_the_next_command_asks_for_rates(verdict):
    assert verdict.next_command is not None
    assert "--rate" in verdict.next_command.split()
    assert "--levels" not in verdict.next_command
    assert verdict.next_step is not None
    assert isinstance(verdict.next_step.users, Rate)


def test_the_gate_of_rates_goes_by_what_is_proven(verdict):
    view = verdict.to_view()
    outcomes = {rate: gate(view, Rate.of(rate)).outcome for rate in (1.5, 2, 3, 4.8, 9)}
    assert outcomes == {1.5: "passed", 2: "passed", 3: "unproven", 4.8: "failed", 9: "failed"}
    assert gate(view, Rate.of(9)).sentence == "gate: at least 9 requests/s served: missed, 4.8 are too many"


def test_a_gate_of_users_is_never_met_by_rates(verdict):
    asked = gate(verdict.to_view(), 2)
    assert asked.outcome == "unproven"
    assert "the run held rates of requests" in asked.sentence


def test_rates_are_not_compared_as_users(verdict, tmp_path):
    (tmp_path / "capacity.json").write_text(json.dumps(verdict.to_json()), encoding="utf-8")
    with pytest.raises(SettingsError, match="held rates"):
        load_set_up("before", [tmp_path / "capacity.json"], None, None)


def test_arrivals_belong_to_the_rate_at_which_they_were_due():
    rows, _ = stream(4.8, 1, hold=40.0)
    late = [replace(row, sent=row.first - 0.1) for row in rows]  # each waited on our side for a free connection
    _, users = stream(4.8, 1, hold=40.0)
    stated = manifest(plan={"levels": [], "rates": [4.8, 1], "hold": 35.0, "settle": 5.0, "min_replies": 3})
    first, last = judge(evidence(late, users, manifest=stated), CHAT).levels
    due = [row.due for row in late]
    assert first.replies == sum(first.t_start <= t <= first.t_end for t in due)
    assert last.replies == sum(last.t_start <= t <= last.t_end for t in due)
    assert first.delayed > 0
    assert first.sent_rate < first.rate


def test_an_overloaded_stream_counts_what_was_not_sent():
    found = judge(run(4.8, give_up=3.0, hold=80.0), CHAT)
    (level,) = found.levels
    assert level.outcomes["not_sent"] == level.unsent > 0
    assert level.delayed >= level.unsent
    assert level.replies_broken >= level.unsent
    assert level.state == "failed"
    (check,) = (finding for finding in found.findings if finding.check == "arrivals")
    assert check.state == "pass"


def test_a_missing_arrival_is_told():
    whole = run(2)
    rows = {name: values[:-7] for name, values in whole.replies.items()}
    (check,) = (one for one in judge(replace(whole, replies=rows), CHAT).findings if one.check == "arrivals")
    assert check.state == "fail"
    assert "7 " in check.why


def test_rows_beyond_the_schedule_do_not_make_up_for_missing_ones():
    whole = run(2)
    due = np.asarray(whole.replies["due"])
    strangers = np.where(due < 10.0, due + 30.0, due)  # as many rows; those of the first 10 s are of no arrival
    moved = int((due < 10.0).sum())
    found = judge(replace(whole, replies={**whole.replies, "due": strangers}), CHAT).findings
    (check,) = (one for one in found if one.check == "arrivals")
    assert (check.state, check.invalidates) == ("fail", True)
    assert f"{moved} (" in check.why
    assert f"{moved} rows of no scheduled arrival were recorded" in check.why


def test_a_row_just_before_a_rate_ends_may_be_there_or_not():
    schedule = Schedule(np.array([1.0, 1.99, 2.03]), np.array([True, False, True]))
    for due in ([1.0, 2.03], [1.0, 1.99, 2.03], [1.004, 1.994, 2.034]):
        assert compare_arrivals(schedule, {"due": np.array(due)}).size == 0
    far_away = compare_arrivals(Schedule(np.array([1.0, 3.0]), np.array([True, True])), {"due": np.array([1.06, 2.95])})
    assert far_away.size == 0, "a worker's clock may be off by that much"
    twice = compare_arrivals(schedule, {"due": np.array([1.0, 1.0, 1.5])})
    assert (twice.missing.tolist(), twice.surplus.tolist()) == ([2.03], [1.0, 1.5])


@pytest.mark.parametrize(
    "arrivals",
    [None, [], {"form": "weibull"}, {"form": "poisson", "seed": "x"}, {"form": "poisson", "seed": 1, "segments": [{}]}],
)
def test_a_damaged_schedule_says_nothing(arrivals):
    whole = run(2)
    damaged = replace(whole, manifest={**whole.manifest, "arrivals": arrivals})
    assert not [one for one in judge(damaged, CHAT).findings if one.check == "arrivals"]


def test_a_level_below_an_overload_starts_when_its_queue_has_gone():
    """At 1.5 × the limit for a minute, half a minute of work is left, and 2 requests/s keep adding to it."""
    rows, users = stream(6, 2)
    found = run(6, 2)
    sent = found.replies["due"]
    gone = backlog_times(found.replies, sent)
    levels = find_levels(found.users, found.manifest["plan"], None, (), gone)
    waits = [row.first - row.due for row in rows if levels[-1].t_start < row.due]
    assert levels[-1].users == Rate.of(2)
    assert levels[-1].t_start > HOLD + 20
    assert max(waits) < 5
    assert users


def test_blocks_hold_about_as_many_replies_as_are_in_flight():
    due = np.arange(0.0, 60.0, 0.25)
    together = replies_at_once(due, due + 2.0, (0.0, 60.0))
    assert together == 8
    grades = np.zeros(len(due), dtype=np.int8)
    visit = visit_from_grades(Rate.of(4), np.arange(len(due)), due, grades, (0.0, 60.0), 0.0, together)
    assert visit.at_once == 8
    assert len(cut_into_blocks(visit).replies) == len(due) / 8
    assert visit.select(due < 30).at_once == 8


def test_one_request_per_second_is_singular():
    assert [things(Rate.of(rate), "user") for rate in (0.5, 1, 7.5)] == [
        "0.5 requests/s",
        "1 request/s",
        "7.5 requests/s",
    ]
    assert people(Rate.of(1)) == "1 request/s"
