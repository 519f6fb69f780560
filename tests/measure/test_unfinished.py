"""Replies that still go on are judged by their first token and their pace so far, and counted by age."""

from probe_ext.measure.fluidity import Deadlines
from probe_ext.measure.unfinished import MAX_AGE_S, EarlyCount, Progress, UnfinishedReplies, add_counts

CHAT = Deadlines(first=1.0, each=0.1)
NONE = EarlyCount()


def total(counts: tuple[EarlyCount, ...]) -> EarlyCount:
    return EarlyCount(*map(sum, zip(*counts, strict=True))) if counts else NONE


def test_a_reply_without_a_token_is_late_once_the_first_deadline_has_passed() -> None:
    replies = UnfinishedReplies(CHAT)
    assert replies.count({1: Progress(10.0, 11.0, None, 0)}) == ()
    assert replies.count({1: Progress(10.0, 12.0, None, 0)}) == (NONE, NONE, EarlyCount(1, 1, 1))
    assert total(replies.count({2: Progress(10.0, 12.0, 11.2, 9)})) == EarlyCount(1, 1, 0), "its first token was late"


def test_a_reply_is_fine_that_keeps_the_pace() -> None:
    replies = UnfinishedReplies(CHAT)
    counts = [
        replies.count({1: Progress(10.0, 10.5 + k, 10.5, 1 + 12 * k), 2: Progress(10.0, 10.5 + k, 10.5, 1 + 6 * k)})
        for k in range(12)
    ]
    assert counts[:2] == [()] * 2, "too young to tell"
    assert list(map(total, counts[2:])) == [EarlyCount(2, 1, 1)] * 10


def test_what_counts_is_the_pace_of_late() -> None:
    replies = UnfinishedReplies(CHAT)
    tokens = [20 * k for k in range(6)] + [100 + 3 * k for k in range(1, 6)]
    late = [total(replies.count({1: Progress(9.5, 10.0 + k, 10.0, 1 + n)})).late for k, n in enumerate(tokens)]
    assert late[5] == 0
    assert late[-3:] == [1, 1, 1]


def test_replies_are_counted_by_age() -> None:
    waiting = {age: Progress(100.0 - age, 100.0, None, 0) for age in (2, 3, 90)}
    counts = UnfinishedReplies(CHAT).count(waiting)
    assert len(counts) == MAX_AGE_S + 1
    assert [age for age, one in enumerate(counts) if one.known] == [2, 3, MAX_AGE_S]


def test_counts_of_several_processes_add_up() -> None:
    one, other = (EarlyCount(1, 1, 0),), (EarlyCount(2, 0, 0), EarlyCount(3, 2, 1))
    assert add_counts([one, (), other]) == (EarlyCount(3, 1, 0), EarlyCount(3, 2, 1))
    assert add_counts([]) == ()


def test_replies_that_ended_are_forgotten() -> None:
    replies = UnfinishedReplies(CHAT)
    for k in range(4):
        replies.count({1: Progress(9.5, 10.0 + k, 10.0, 50 * k)})
    assert replies.count({}) == ()
    assert replies.count({1: Progress(14.5, 15.0, 14.6, 1)}) == (), "another reply of the same number"
