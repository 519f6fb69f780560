"""Replies that still go on are judged by their first token and their pace so far."""

from probe_ext.measure.fluidity import Deadlines
from probe_ext.measure.unfinished import EarlyCount, Progress, UnfinishedReplies

CHAT = Deadlines(first=1.0, each=0.1)


def test_a_reply_without_a_token_is_late_once_the_first_deadline_has_passed() -> None:
    replies = UnfinishedReplies(CHAT)
    assert replies.count({1: Progress(10.0, 11.0, None, 0)}) == EarlyCount(0, 0)
    assert replies.count({1: Progress(10.0, 12.0, None, 0)}) == EarlyCount(0, 1)
    assert replies.count({2: Progress(10.0, 12.0, 11.2, 9)}) == EarlyCount(0, 1), "its first token was late"


def test_a_reply_is_fine_that_keeps_the_pace() -> None:
    replies = UnfinishedReplies(CHAT)
    counts = [
        replies.count({1: Progress(10.0, 10.5 + k, 10.5, 1 + 12 * k), 2: Progress(10.0, 10.5 + k, 10.5, 1 + 6 * k)})
        for k in range(12)
    ]
    assert counts[:2] == [EarlyCount(0, 0)] * 2, "too young to tell"
    assert counts[2:] == [EarlyCount(1, 1)] * 10


def test_what_counts_is_the_pace_of_late() -> None:
    replies = UnfinishedReplies(CHAT)
    tokens = [20 * k for k in range(6)] + [100 + 3 * k for k in range(1, 6)]
    fine = [replies.count({1: Progress(9.5, 10.0 + k, 10.0, 1 + n)}).fine for k, n in enumerate(tokens)]
    assert fine[5] == 1
    assert fine[-3:] == [0, 0, 0]


def test_replies_that_ended_are_forgotten() -> None:
    replies = UnfinishedReplies(CHAT)
    for k in range(4):
        replies.count({1: Progress(9.5, 10.0 + k, 10.0, 50 * k)})
    assert replies.count({}) == EarlyCount(0, 0)
    assert replies.count({1: Progress(14.5, 15.0, 14.6, 1)}) == EarlyCount(0, 0), "another reply of the same number"
