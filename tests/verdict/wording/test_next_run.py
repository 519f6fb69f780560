"""What to run next: the shortest run that settles the answer, with the options of this one."""

import json
from dataclasses import replace
from typing import Any

import pytest
from test_sentence import estimate, level
from worlds import manifest

from probe_ext.settings.options import read_options
from probe_ext.verdict.inference.level_estimates import least_proof
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, Criteria, GroupCapacity, Suggestion
from probe_ext.verdict.wording.next_run import NextMeasurement, _same_options, next_command, next_measurement, next_step

CYCLE_S = 30.0 / 20
"""of the levels that `level` makes"""


def measurement(estimated: CapacityEstimate, **plan: Any) -> NextMeasurement | None:
    return next_measurement(manifest(plan={"hold": 30.0, **plan}), estimated, Criteria())


def levels(estimated: CapacityEstimate) -> tuple[int, ...]:
    found = measurement(estimated)
    return found.levels if found is not None else ()


@pytest.mark.parametrize(
    ("held", "failed", "interval", "guess", "expected"),
    [
        (8, 12, (8, 11), 10, (8, 9, 10, 11, 12)),
        (8, 10, (8, 9), 8, (8, 9, 10)),
        (64, 96, (64, 95), 80, (64, 72, 80, 88, 96)),
        (8, 20, (10, 15), 13, (8, 12, 13, 14, 20)),
    ],
)
def test_between_a_level_that_holds_and_one_that_fails(
    held: int, failed: int, interval: tuple[int, int], guess: int, expected: tuple[int, ...]
) -> None:
    both = [level(held), level(failed, "failed")]
    assert levels(estimate(both, (held, failed), interval, held, suggestion=Suggestion(guess, *interval))) == expected


def test_kinds_that_share_no_measured_level_leave_nothing_to_measure_next() -> None:
    """Of a workload whose rarer kinds had no user: an interval, but no level with all kinds."""
    assert measurement(estimate([], (None, None), (0, None), None)) is None


def test_above_the_highest_level_if_it_holds() -> None:
    assert levels(estimate([level(8), level(16)], (16, None), (16, None), 16)) == (16, 32, 64)


@pytest.mark.parametrize(("failed", "expected"), [(2, (1, 2)), (4, (2, 4)), (64, (8, 16, 32, 64))])
def test_below_the_lowest_level_if_it_fails(failed: int, expected: tuple[int, ...]) -> None:
    assert levels(estimate([level(failed, "failed", seconds=70.0)], (None, failed), (0, failed - 1))) == expected


def test_only_the_level_that_is_open_for_as_long_as_it_takes() -> None:
    open_level = level(12, "unproven", seconds=40.0, replies_needed=300, seconds_needed=100.0)
    found = measurement(estimate([level(8), open_level], (8, None), (8, None), 8, suggestion=Suggestion(12, 8, None)))
    assert found == NextMeasurement((8, 12), 140.0, targets=(12,), settles=(12,))
    assert (found.minutes, found.seconds) == (5, 280.0)


def test_level_that_may_be_proven_soon_is_preferred_to_one_that_is_too_close() -> None:
    close = level(16, "unproven")
    soon = level(12, "unproven", replies_needed=100, seconds_needed=20.0)
    guess = Suggestion(16, 0, None)
    found = measurement(estimate([soon, close], (None, None), (0, None), suggestion=guess))
    assert found is not None
    assert (found.levels, found.targets) == ((12, 16), (12,)), "the likely answer is kept"


def test_level_too_close_to_call_at_the_top_asks_for_a_search() -> None:
    close = level(12, "unproven")
    found = measurement(estimate([level(8), close], (8, None), (8, None), 8, suggestion=Suggestion(12, 8, None)))
    assert found == NextMeasurement()
    command = next_command(manifest(), estimate([close], (None, None)), found, invalid=False)
    assert command == "probe run capacity --host http://server:8000 --search"


def test_nothing_is_left_where_only_a_level_too_close_to_call_lies_between() -> None:
    close = level(9, "unproven")
    assert measurement(estimate([level(8), close, level(10, "failed")], (8, 10), (8, 9), 8)) is None


def test_nothing_is_left_after_failing_at_one_user() -> None:
    assert measurement(estimate([level(1, "failed")], (None, 1), (0, 0), 0)) is None


def test_more_time_does_not_tell_where_users_differ() -> None:
    differ = level(16, "unproven", "users_differ", replies_needed=10, seconds_needed=5.0)
    groups = GroupCapacity(4, 16, None, None, None, None)
    assert measurement(estimate([differ], (None, None), (0, None), users_differ=True, groups=groups)) is None


@pytest.mark.parametrize("reason", ["needs_second_visit", "visits_disagree"])
def test_second_visit_goes_to_the_level_and_the_next_higher_one(reason: Any) -> None:
    again = level(8, "unproven", reason, replies_needed=9999, seconds_needed=9999.0)
    assert levels(estimate([again, level(12), level(16, "failed")], (12, 16), (12, 15), 12)) == (8, 12, 16)
    assert levels(estimate([again], (None, None), (0, None))) == (8, 16)


def test_levels_are_held_for_at_least_as_long_as_a_proof_takes() -> None:
    least = least_proof(1, CYCLE_S)
    found = measurement(estimate([level(2, "failed")], (None, 2), (0, 1)))
    assert least is not None
    assert found == NextMeasurement((1, 2), 98.0, targets=(1,))
    assert found.hold == pytest.approx(least.seconds, abs=1)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("precise", None),
        ("max_users", "--search --max-users=1024"),
        ("time", "--search --search-time=3600"),
        ("unreachable", None),
        ("widened", "--search"),
        (None, "--search"),
    ],
)
def test_search_that_met_a_limit_goes_on_beyond_it(outcome: str | None, expected: str | None) -> None:
    search = {"outcome": outcome, "max_users": 512, "longest": 1800.0}
    held = estimate([level(8)], (8, None), (8, None), 8)
    stated = manifest(plan={"levels": [8], "hold": 30.0, "search": search})
    command = next_command(stated, held, next_measurement(stated, held, Criteria()), invalid=False)
    assert command == (expected and f"probe run capacity --host http://server:8000 {expected}")


@pytest.mark.parametrize(("left", "expected"), [(400.0, 2220), (43_000.0, 3600), (None, 3600)])
def test_search_that_ran_out_of_time_is_given_what_it_would_have_taken(left: float | None, expected: int) -> None:
    search = {"outcome": "time", "max_users": 512, "longest": 1800.0, "seconds_left": left}
    held = estimate([level(8)], (8, None), (8, None), 8)
    found = measurement(held, search=search)
    assert found is not None
    assert found.search == {"search_time": expected}


def test_invalid_run_is_repeated_as_it_was() -> None:
    stated = manifest(plan={"levels": [2, 4, 2], "hold": 30.0})
    assert next_command(stated, estimate([level(2)], (2, None)), None, invalid=True) == (
        "probe run capacity --host http://server:8000 --levels 2,4,2"
    )
    by_hand = estimate([level(n) for n in range(1, 20)], (19, None))
    assert (next_command(manifest(plan=None), by_hand, None, invalid=True) or "").endswith("--levels 1,5,10,15,19")


def test_run_that_ended_before_its_first_level_is_repeated() -> None:
    stated = manifest(plan={"levels": [2, 4], "hold": 30.0}, end_reason="interrupted")
    assert (next_command(stated, estimate([], (None, None)), None, invalid=False) or "").endswith("--levels 2,4")
    done = manifest(plan={"levels": [2, 4], "hold": 30.0})
    assert next_command(done, estimate([], (None, None)), None, invalid=False) is None


def command(locustfile: str = "capacity.py", **given: str) -> str:
    options: dict[str, Any] = json.loads(json.dumps(read_options(given).as_json()))
    stated = manifest(options=options, locustfile=locustfile, plan={"hold": options["hold"]})
    both = estimate([level(4), level(8, "failed")], (4, 8), (4, 7), 4)
    return next_command(stated, both, next_measurement(stated, both, Criteria()), invalid=False) or ""


def test_options_at_their_defaults_are_not_repeated() -> None:
    assert command(levels="4,8", precision="10%") == "probe run capacity --host http://server:8000 --levels 4,5,6,7,8"


def test_changed_options_are_repeated_and_parse_to_the_same_values() -> None:
    asked = {"hold": "90s", "max_tokens": "16", "api": "completion", "slo": "batch", "temperature": "0.5"}
    suggested = command(**asked, metrics_url="http://server:9000/metrics,http://server:9001/metrics")
    given = dict(part[2:].split("=", 1) for part in suggested.split() if part.startswith("--") and "=" in part)
    assert read_options({name.replace("-", "_"): text for name, text in given.items()}) == read_options(
        {**asked, "metrics_url": "http://server:9000/metrics,http://server:9001/metrics"}
    )


def test_a_locustfile_of_the_user_is_named_by_its_path() -> None:
    assert command("./mine/reviewer.py").startswith("probe run ./mine/reviewer.py --host")


def test_the_next_command_names_no_host_where_the_workload_does() -> None:
    kinds = [{"name": "a", "host": "http://127.0.0.1:8001"}]
    stated = {**manifest(plan={"levels": [2, 4]}, end_reason="interrupted"), "workload": {"kinds": kinds}}
    command = next_command(stated, estimate([], (None, None)), None, invalid=False) or ""
    assert "--levels 2,4" in command
    assert "--host" not in command


def test_headers_and_body_fields_are_part_of_the_next_command() -> None:
    given = read_options({"header": "X-A: 1\nX-B: 2", "header_env": "K=V", "body": '{"top_k": 1}'}).as_json()
    expected = ["--header=X-A: 1", "--header=X-B: 2", "--header-env=K=V", '--body={"top_k":1}']
    assert _same_options(json.loads(json.dumps(given)), set()) == expected


def test_a_level_that_needs_long_is_held_for_exactly_what_it_is_said_to_need() -> None:
    """Replies that broke elsewhere make a level need more: the next run must not be shorter than that."""
    open_level = level(8, "unproven", "broken_bound", seconds=45.0, replies_needed=700, seconds_needed=1000.0)
    found = measurement(
        estimate([open_level, level(16, "failed")], (None, 16), (0, 15), suggestion=Suggestion(8, 0, 15))
    )
    assert found == NextMeasurement((8, 16), 1045.0, targets=(8,), settles=(8,))


def for_gate(estimated: CapacityEstimate, **gate: float) -> NextMeasurement | None:
    return next_measurement(manifest(plan={"hold": 30.0}, options=gate), estimated, Criteria())


@pytest.mark.parametrize(
    ("required", "expected", "settles"),
    [(8, (8, 16), (8,)), (12, (8, 12, 16), ()), (4, (4, 8, 16), ()), (16, (8, 16), (8,)), (32, (8, 16), (8,))],
)
def test_the_next_run_is_the_one_that_would_prove_an_open_gate(
    required: int, expected: tuple[int, ...], settles: tuple[int, ...]
) -> None:
    """A gate of 16 or more is missed, so the next run is the usual one."""
    open_level = level(8, "unproven", replies_needed=100, seconds_needed=20.0)
    found = estimate([open_level, level(16, "failed")], (None, 16), (0, 15), suggestion=Suggestion(8, 0, 15))
    more = for_gate(found, fail_under_users=required)
    assert more is not None
    assert (more.levels, more.settles) == (expected, settles)
    step = next_step(more, found)
    assert step is not None
    assert (step.users, step.reason) == ((required, "gate") if required < 16 else (8, "narrow"))


def test_a_gate_goes_before_what_a_search_left_open() -> None:
    stopped = manifest(
        plan={"hold": 30.0, "search": {"outcome": None, "longest": 1800.0}}, options={"fail_under_users": 12}
    )
    held = estimate([level(8)], (8, None), (8, None), 8)
    more = next_measurement(stopped, held, Criteria())
    assert (next_command(stopped, held, more, invalid=False) or "").startswith(
        "probe run capacity --host http://server:8000 --levels 8,12"
    )


def test_a_gate_that_no_reasonable_time_proves_is_measured_longer_all_the_same() -> None:
    close = level(8, "unproven", seconds=45.0)
    more = for_gate(estimate([level(4), close], (4, None), (4, None), 4), fail_under_users=8)
    assert more is not None
    assert (more.levels, more.hold, more.settles) == ((4, 8), 180.0, ())


def test_how_long_a_stopped_search_takes_is_what_it_took_and_still_needed() -> None:
    steps = [{"users": 1, "from": 1.0, "until": 40.0}, {"users": 4, "from": 40.0, "until": None}]
    search = {"outcome": None, "longest": 1800.0, "seconds_left": 200.0, "steps": steps}
    held = estimate([level(8)], (8, None), (8, None), 8)
    known, unknown = (measurement(held, search=one) for one in (search, {**search, "seconds_left": None}))
    assert known is not None
    assert unknown is not None
    assert (known.seconds, unknown.seconds) == (240.0, None)


def test_no_level_is_suggested_where_users_differ_nor_above() -> None:
    """With five replicas of which one is slow, 18 users cannot all be served if 8 and 16 were not."""
    differ = [level(users, "unproven", "users_differ") for users in (8, 16)]
    levels = [level(4, "held"), *differ, level(32, "failed")]
    found = measurement(estimate(levels, (4, 32), (4, 31), 18, users_differ=True))
    assert found is not None
    assert (found.targets, found.levels) == ((5, 6, 7), (4, 5, 6, 7, 32))
    nothing_between = [level(7, "held"), *differ, level(32, "failed")]
    assert measurement(estimate(nothing_between, (7, 32), (7, 31), 18, users_differ=True)) is None
    above = [*differ, level(24, "unproven", replies_needed=10, seconds_needed=5.0), level(32, "failed")]
    assert measurement(estimate(above, (None, 32), (0, 31), 18, users_differ=True)) is None


@pytest.mark.parametrize("differ", [{"users_differ": True}, {"unsteady": (8,)}, {}])
def test_a_further_search_holds_levels_longer_where_users_or_visits_differ(differ: dict[str, Any]) -> None:
    estimated = replace(estimate([level(8, "unproven")], (None, None), (0, 15), None), **differ)
    search = {"outcome": None, "longest": 1800.0, "seconds_left": 200.0, "steps": [{"until": 100.0}]}
    found = next_measurement(manifest(plan={"hold": 20.0, "search": search}), estimated, Criteria())
    assert found is not None
    assert found.search == ({"hold": 80.0} if differ else {})
    command = next_command(manifest(options={"hold": 20.0}), estimated, found, invalid=False)
    assert f"--hold={80 if differ else 20}" in str(command)
