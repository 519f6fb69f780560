"""What a search hears of a level that goes on: the verdict's own states, and blocks of the replies that have ended."""

import numpy as np
import pytest
from worlds import CHAT, evidence, reply, slow_start, staircase

from probe_ext.measure.table_rows import ReplyRow
from probe_ext.swarm.master.search_monitor import SearchMonitor
from probe_ext.verdict.inference.sequential_view import Ended, blocks_of
from probe_ext.verdict.judge import judge


def ended(*replies: tuple[float, float, int]) -> Ended:
    """Replies as (sent, end, grade), each of a user of its own."""
    rows = sorted(replies, key=lambda one: one[1])
    sent, end, grades = (np.array([row[i] for row in rows]) for i in range(3))
    return Ended(np.arange(len(rows)), sent, end, grades.astype(np.int8))


def listening(*rows: ReplyRow) -> SearchMonitor:
    heard = SearchMonitor(CHAT, min_replies=3)
    for row in rows:
        heard.add(row)
    return heard


def test_a_block_lasts_as_long_as_the_replies_before_it_took() -> None:
    two_seconds = [(100.0 + 2 * k, 102.0 + 2 * k, 0) for k in range(6)]
    blocks = blocks_of(ended(*two_seconds), 100.0)
    assert [block.end for block in blocks] == [102.0, 104.0, 106.0, 108.0, 110.0]
    assert {(block.served, block.broken) for block in blocks} == {(1.0, 0.0)}


def test_a_block_without_a_reply_goes_on_and_the_last_one_waits() -> None:
    blocks = blocks_of(ended((0.0, 0.5, 0), (5.2, 6.4, 1), (5.3, 6.5, 2), (8.0, 9.0, 0)), 0.0)
    assert [(block.end, block.served, block.broken) for block in blocks] == [(1.0, 1.0, 0.0), (7.0, 0.0, 0.5)]
    assert blocks_of(ended(), 0.0) == ()


@pytest.mark.parametrize(("wait", "state"), [(0.2, "held"), (2.0, "failed")])
def test_a_level_is_said_to_be_what_the_verdict_will_say(wait: float, state: str) -> None:
    rows = [slow_start(user, 5.5 + 4 * k, wait) for user in range(4) for k in range(6)]
    assert listening(*rows).look(5.0, 4).state == state
    assert judge(evidence(rows, staircase((4, 40))), CHAT).levels[0].state == state


def test_too_few_replies_decide_nothing() -> None:
    rows = [reply(user, 5.5 + 4 * k) for user in range(4) for k in range(2)]
    assert listening(*rows).look(5.0, 4).state == "unproven"
    assert listening().look(5.0, 4).state == "unproven"


def test_only_what_was_sent_in_the_level_counts_and_nothing_that_we_ended() -> None:
    old, ours = slow_start(0, 1.0, 5.0), reply(1, 6.0, outcome="ended_by_us")
    heard = listening(old, ours, *[reply(user, 10.0 + 2 * k) for user in range(2) for k in range(3)])
    assert heard.settled(5.0) == 2
    look = heard.look(9.0, 2)
    assert (look.state, {block.served for block in look.blocks}) == ("held", {1.0})


def test_a_level_that_was_left_is_judged_by_its_last_replies_too() -> None:
    """Four users had three good replies each, and one of them a slow one that ends when the next level goes on."""
    heard = listening(*[reply(user, 6.0 + 3 * k) for user in range(4) for k in range(3)])
    assert heard.look(5.0, 4).state == "held"
    heard.leave(16.0, for_more=False)
    heard.look(30.0, 2)
    for k in range(2):
        heard.add(slow_start(0, 15.0 + k / 2, 5.0))
    assert heard.state(4) == "failed"
    assert heard.state(2) == "unproven"


def test_when_more_users_come_a_reply_counts_as_it_stood() -> None:
    rows = [reply(user, 6.0 + 3 * k) for user in range(4) for k in range(3)]
    for since, state in ((15.5, "held"), (13.0, "failed")):  # waited half a second when they came, or three
        heard = listening(*rows)
        heard.look(5.0, 4)
        heard.leave(16.0, for_more=True)
        heard.add(slow_start(0, since, 5.0))
        heard.add(slow_start(0, since + 0.1, 5.0))
        assert heard.state(4) == state
        users = staircase((4, 16), (8, 40))
        late = [slow_start(0, since, 5.0), slow_start(0, since + 0.1, 5.0)]
        assert judge(evidence(rows + late, users), CHAT).levels[0].state == state


def test_two_visits_to_a_level_are_one() -> None:
    heard = listening(*[slow_start(user, 6.0 + 3 * k, 2.0) for user in range(4) for k in range(3)])
    assert heard.look(5.0, 4).state == "failed"
    heard.leave(20.0, for_more=False)
    for user in range(4):
        for k in range(3):
            heard.add(reply(user, 61.0 + 3 * k))
    look = heard.look(60.0, 4)
    assert look.state == "failed", "half of the people of both visits"
    assert {block.served for block in look.blocks} == {1.0}, (
        "blocks are of this visit: the odds of earlier ones are kept"
    )


def test_users_have_settled_once_a_reply_of_theirs_has_ended() -> None:
    heard = listening(reply(0, 1.0), reply(1, 8.0))
    assert heard.settled(5.0) == 1
    heard.add(slow_start(0, 4.0, 5.0))
    assert heard.settled(5.0) == 2
