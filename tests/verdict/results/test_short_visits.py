"""What a search saw on its way up is shown, proves nothing, and is said where it got further than what it measured."""

from collections.abc import Sequence
from typing import Any

import pytest
from worlds import CHAT, evidence, good, manifest, reply, slow_start, staircase, worker

from probe_ext.report.sections.optional.visit_table import short_visits as shown
from probe_ext.report.sections.provenance import search_steps
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.judgement import Judgement

STEPS = (
    {"users": 1, "from": 0.0, "measured_from": 1.0, "until": 30.0, "state": "unproven"},
    {"users": 4, "from": 30.0, "measured_from": None, "until": 40.0, "state": "unproven"},
    {"users": 8, "from": 40.0, "measured_from": None, "until": 50.0, "state": "unproven"},
    {"users": 16, "from": 50.0, "measured_from": 53.0, "until": 90.0, "state": "failed"},
)


def searched(*visit: Any, then: Sequence[dict[str, Any]] = ()) -> Judgement:
    rows = [*good(1, 0, 30), *good(4, 30, 10), *visit]
    rows += [slow_start(user, 53.0 + 5 * k + user / 100, 4.0) for user in range(16) for k in range(6)]
    plan = {"levels": [1, 16], "hold": 20.0, "settle": 3.0, "min_replies": 3}
    search = {"outcome": None, "longest": 3600.0, "seconds_left": 200.0, "steps": [*STEPS, *then]}
    stated = manifest(plan={**plan, "search": search}, end_reason="interrupted", workers=[worker(started=len(rows))])
    return judge(evidence(rows, staircase((1, 30), (4, 10), (8, 10), (16, 40)), manifest=stated), CHAT)


@pytest.mark.parametrize("wait", [0.2, 3.0])
def test_a_short_visit_is_no_level_and_the_sentence_names_the_highest_that_went_well(wait: float) -> None:
    verdict = searched(*(reply(user, 44.0 + user / 10, first=44.0 + user / 10 + wait) for user in range(8)))
    assert [level.users for level in verdict.levels] == [1, 16]
    assert [one.users for one in verdict.short_visits] == [4, 8]
    last, best = verdict.short_visits[-1], 8 if wait < 1 else 4
    assert (last.replies, last.replies_observed, last.replies_within_bounds) == (8, 8, 8 if wait < 1 else 0)
    assert f"In a short visit, {best} people were served well so far" in verdict.sentence


def test_replies_that_arriving_users_all_ask_at_once_are_left_out() -> None:
    verdict = searched(*(reply(user, 44.0, first=44.3) for user in range(8)))
    assert verdict.short_visits[-1].t_start > 40.0 - 1.5
    early = searched(*(slow_start(user, 38.9, 5.0) for user in range(8)))
    assert early.short_visits[-1].replies == 0


def test_steps_that_a_search_left_for_fewer_users_or_as_it_ended_are_none() -> None:
    down = [
        {"users": 12, "from": 90.0, "measured_from": None, "until": 94.0, "state": "unproven"},
        {"users": 10, "from": 94.0, "measured_from": None, "until": 95.0, "state": "unproven"},
    ]
    assert [one.users for one in searched(then=down).short_visits] == [4, 8]


def test_the_page_lists_them() -> None:
    table = shown(searched(*(reply(user, 44.0, first=44.3) for user in range(8))).to_json())
    assert table is not None
    assert [(row[0], row[3]) for row in table.rows][-1] == ("8", "8 of 8")
    assert shown({"short_visits": []}) is None


def test_a_short_visit_is_no_measured_level_among_the_steps_of_the_search_either() -> None:
    """32 users may have failed later: the visit in which they were glanced at was not what showed it."""
    steps = [{"users": n, "from": 9.0 * n, "measured_from": None, "until": 9.0 * n + 8, "state": "failed"}
             for n in (1, 2, 1)]  # fmt: skip
    said = [text for _, text in search_steps({"steps": steps})]
    assert said[0] == "short visit, left for more users, until 17 s"
    assert said[1].startswith("short visit, left before it was measured, until ")
    assert not any("fail" in text for text in said)
    assert search_steps({}) == [], "a run without a search"
