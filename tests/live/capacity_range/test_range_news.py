"""The lines of a search: a first range as soon as there is one, then only what is clearly narrower."""

from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.live.capacity_range.known_range import known_range
from probe_ext.live.capacity_range.range_news import FIRST_WORD_AFTER_S, RangeNews, range_in_words
from probe_ext.load.boundary_search import EarlyRange


def spoken(*moments: tuple[float, tuple[int, int | None] | None]) -> list[str]:
    news = RangeNews(0.9)
    lines = []
    for now, interval in moments:
        estimate: Any = None if interval is None else SimpleNamespace(interval=interval, levels=())
        if line := news.line(now, 7, estimate, "about 4 more minutes"):
            lines.append(line)
    return lines


def test_the_first_range_is_said_at_once_and_only_clearly_narrower_ones_after_it() -> None:
    lines = spoken((20.0, None), (46.0, (2, 15)), (47.0, (3, 15)), (60.0, (6, 14)), (61.0, (6, 14)), (90.0, (8, 10)))
    assert lines == [
        (
            "after 46 s: so far somewhere between 2 and 15 people; narrowing, about 4 more minutes. "
            "Ctrl-C ends the search with its report"
        ),
        "after 60 s: so far somewhere between 6 and 14 people; narrowing, about 4 more minutes",
        "after 90 s: so far somewhere between 8 and 10 people; making sure, about 4 more minutes",
    ]


def test_what_is_proven_counts_more_than_a_first_impression() -> None:
    proven: Any = SimpleNamespace(interval=(16, None), levels=())
    assert known_range(proven, EarlyRange(overloaded=16), 0.9) is None, "no number has been too many"


@pytest.mark.parametrize("exact", [(0, 0), (8, 8), (8, 9)])
def test_a_range_that_cannot_get_narrower_is_said_once(exact: tuple[int, int]) -> None:
    lines = spoken(*((30.0 + second, exact) for second in range(30)))
    assert len(lines) == 1
    assert "; making sure" in lines[0]


def test_a_search_that_goes_on_says_the_answer_when_it_is_precise_and_how_to_end_it() -> None:
    news, lines = RangeNews(0.9), []
    for now, interval, precise in ((46.0, (2, 15), False), (60.0, (8, 10), True), (61.0, (8, 10), True),
                                   (90.0, (8, 9), True)):  # fmt: skip
        estimate: Any = SimpleNamespace(
            interval=interval, levels=(), bracket=(8, 11), served_users=9, placed_by_curve=True, estimate=9.3
        )
        lines.append(news.line(now, 7, estimate, "until Ctrl-C" if precise else "", precise=precise))
    assert lines[1:] == [
        (
            "after 60 s: so far about 9 people can use this at once (95 %: 8 to 10). That is as precise as asked for; "
            "narrowing further. Ctrl-C ends the search with its report"
        ),
        None,
        "after 90 s: so far somewhere between 8 and 9 people; making sure, until Ctrl-C",
    ]


def test_a_range_that_contradicts_the_one_said_last_is_said_even_if_it_is_wider() -> None:
    assert len(spoken((46.0, (8, 10)), (60.0, (9, 11)), (70.0, (11, 16)))) == 2


SEEN = "{} looked fine so far, {} did not; {} may still be too many)"


def levels(*shares: tuple[int, float]) -> Any:
    seen = [
        SimpleNamespace(users=users, share_fit=share, share_high=share + 0.02, replies=2 * users)
        for users, share in shares
    ]
    return SimpleNamespace(interval=(0, None), levels=tuple(seen))


@pytest.mark.parametrize(
    ("estimate", "known"),
    [
        (None, "7 replies so far, and no number of people has been too many; the search goes on"),
        (levels((1, 1.0)),
         "1 person looked fine so far, and no number of people has been too many; the search goes on"),
        (levels((1, 1.0), (4, 1.0), (8, 1.0)), (
            "probably at least 4 people, as 8 looked fine so far, and no number of people has been too many; "
            "the search goes on")),
    ],
)  # fmt: skip
def test_after_most_of_a_minute_it_is_said_what_was_seen_without_calling_it_proven(estimate: Any, known: str) -> None:
    news = RangeNews(0.9)
    assert news.line(FIRST_WORD_AFTER_S - 1, 7, estimate) is None
    said = f"after 50 s, not proven yet: {known}. Ctrl-C ends the search with its report"
    assert news.line(FIRST_WORD_AFTER_S, 7, estimate) == said
    assert news.line(FIRST_WORD_AFTER_S + 1, 7, estimate) is None


@pytest.mark.parametrize(
    ("estimate", "known"),
    [
        (levels((1, 1.0), (4, 1.0), (8, 0.97), (16, 0.2)),
         "probably somewhere between 4 and 15 people, not proven yet ("
         + SEEN.format("4 and 8", 16, 8)),
        (levels((1, 1.0), (4, 0.89), (8, 0.95), (16, 0.2)),
         "probably somewhere between 1 and 15 people, not proven yet ("
         + SEEN.format("1 and 8", 16, 8)),
        (levels((1, 1.0), (4, 0.3)), "probably fewer than 4 people, not proven yet (" + SEEN.format("1", 4, 1)),
        (levels((1, 0.2)), "probably not even 1 person is served well, not proven yet (1 person looked like too many)"),
    ],
)  # fmt: skip
def test_a_range_is_said_as_soon_as_a_number_of_people_was_too_many(estimate: Any, known: str) -> None:
    assert str(RangeNews(0.9).line(20.0, 7, estimate, "4 more minutes")).startswith(f"after 20 s: {known}; ")


def test_proof_of_the_range_said_last_is_no_news() -> None:
    news, early = RangeNews(0.9), EarlyRange(fine=(1, 4, 8), overloaded=16)
    assert news.line(20.0, 7, None, early=early)
    proven: Any = SimpleNamespace(interval=(0, 15), levels=())
    assert news.line(40.0, 30, proven, early=early) is None
    narrower: Any = SimpleNamespace(interval=(7, 12), levels=())
    assert (
        news.line(60.0, 60, narrower, early=early) == "after 60 s: so far somewhere between 7 and 12 people; narrowing"
    )


def test_a_slow_load_generator_is_named_beside_the_range_it_may_have_caused() -> None:
    early = EarlyRange(fine=(1, 4, 8), overloaded=16)
    said = str(RangeNews(0.9).line(20.0, 7, None, early=early, generator="The load generator does not keep up: why."))
    assert said.endswith(". The load generator does not keep up: why.")


def test_of_a_slow_start_the_range_that_follows_is_said_once() -> None:
    news, low, both = RangeNews(0.9), levels((1, 1.0)), levels((1, 1.0), (4, 0.2))
    lines = [
        news.line(now, 7, seen) for now, seen in ((50.0, low), (51.0, low), (80.0, both), (81.0, low), (82.0, both))
    ]
    assert [bool(line) for line in lines] == [True, False, True, False, False]


def test_few_replies_call_no_number_of_people_too_many() -> None:
    early = SimpleNamespace(users=16, share_fit=0.1, share_high=0.95, replies=3)
    estimate: Any = SimpleNamespace(interval=(0, None), levels=(early,))
    assert "no number of people has been too many" in str(RangeNews(0.9).line(50.0, 7, estimate))


def test_ranges_in_words() -> None:
    assert range_in_words((0, 0)) == "not even 1 person is served well"
    assert range_in_words((0, 3)) == "fewer than 4 people"
    assert range_in_words((1, 1)) == "1 person"
    assert range_in_words((0, 0), "agents") == "not even 1 agent is served well"
    assert range_in_words((6, 14), "agents") == "somewhere between 6 and 14 agents"
    assert range_in_words((6, 1400)) == "somewhere between 6 and 1,400 people"


def test_agents_are_called_so() -> None:
    news = RangeNews(0.9, "agents")
    level = SimpleNamespace(users=4, share_fit=1.0, share_high=1.0, replies=9)
    estimate: Any = SimpleNamespace(interval=None, levels=(level,))
    line = news.line(FIRST_WORD_AFTER_S, 9, estimate)
    assert line is not None
    assert "4 agents looked fine so far, and no number of agents has been too many" in line


def test_what_a_climb_saw_bounds_the_first_range() -> None:
    """Nobody measured 8 or 16: replies that went on there did well, and those at 32 did not."""
    news, seen = RangeNews(0.9), levels((1, 1.0))
    climb = EarlyRange(fine=(4, 8, 16), overloaded=32)
    said = news.line(54.0, 7, seen, early=climb)
    assert said is not None
    seen = "8 and 16 looked fine so far, 32 did not, by replies still in progress; 16 may still be too many"
    assert f"probably somewhere between 8 and 31 people, not proven yet ({seen})" in said


def test_a_range_without_a_lower_end_says_what_is_likely() -> None:
    proven: Any = SimpleNamespace(interval=(0, 15), levels=())
    said = RangeNews(0.9).line(40.0, 7, proven, "about 4 more minutes", EarlyRange(fine=(1, 4, 8), overloaded=16))
    assert str(said).startswith(
        "after 40 s: so far fewer than 16 people, probably 4 or more, which is not proven "
        "(4 and 8 looked fine so far; 8 may still be too many); narrowing, about 4 more minutes"
    )
    beyond = RangeNews(0.9).line(40.0, 7, proven, early=EarlyRange(fine=(1, 4, 8, 16, 32)))
    assert "probably 15 or more" in str(beyond), "what is proven stands above what only looked well"


@pytest.mark.parametrize(("replies", "took"), [(0, "more than 50 s"), (1, "50 s each")])
def test_where_replies_take_too_long_for_a_range_it_says_so_and_when(replies: int, took: str) -> None:
    slow = EarlyRange(cycle=50.0, judged_in=125.0)
    said = str(RangeNews(0.9).line(50.0, replies, None, early=slow))
    assert f"Replies take {took}: about 2 min 5 s until this number of people is judged" in said
    fast = RangeNews(0.9).line(50.0, 7, None, early=EarlyRange(cycle=2.0, judged_in=9.0))
    assert "Replies take" not in str(fast)


def test_what_is_proven_so_far_is_said_to_be_so_and_the_impression_before_it_is_named() -> None:
    """A proof rests on how much replies differ from moment to moment, which later replies may show to be more."""
    news, climb = RangeNews(0.9), EarlyRange(fine=(1, 4, 8), overloaded=16)
    assert "probably somewhere between 4 and 15" in str(news.line(55.0, 9, None, early=climb))
    bad = SimpleNamespace(users=1, share_fit=0.0, share_high=0.87, replies=1)
    proven: Any = SimpleNamespace(interval=(0, 15), levels=(bad,))
    assert news.line(92.0, 70, proven, "about 2 more minutes", climb) is None, "until it has stood for a while"
    said = news.line(102.0, 70, proven, "about 2 more minutes", climb)
    start = "after 102 s: so far fewer than 16 people; narrowing, about 2 more minutes"
    assert said == f"{start}. The range before was a first impression"


def seen_at(*levels_seen: tuple[int, float, int], high: int = 15) -> Any:
    """An estimate that proves more than `high` people too many, from levels with a share of so many replies."""
    found = tuple(
        SimpleNamespace(users=users, share_fit=share, share_high=min(1.0, share + 0.3), replies=replies)
        for users, share, replies in levels_seen
    )
    return SimpleNamespace(interval=(0, high), levels=found)


CLIMB = EarlyRange(fine=(1, 4, 8), overloaded=16)


def test_the_first_replies_of_a_level_do_not_make_it_good() -> None:
    """They are its fast ones: of 12 users, three replies were served, and of those that ended 4 s later hardly any."""
    few, many = (known_range(seen_at((12, 1.0, replies)), CLIMB, 0.9) for replies in (3, 12))
    assert few is not None
    assert (few.good, few.low) == ([1, 4, 8], 4)
    assert many is not None
    assert (many.good, many.low) == ([1, 4, 8, 12], 8)


def test_a_level_that_did_well_on_the_way_up_and_not_since_is_no_longer_good() -> None:
    known = known_range(seen_at((8, 0.7, 30)), CLIMB, 0.9)
    assert known is not None
    assert known.good == [1, 4]


def test_ranges_that_contradict_each_other_within_seconds_are_not_said() -> None:
    """As on a real server: 12 users looked fine at 94 s, and no longer at 98 s."""
    news = RangeNews(0.9)
    assert news.line(40.0, 43, None, early=CLIMB)
    lines = []
    for second in range(90, 116):
        fine = second < 98
        seen = seen_at(
            (1, 1.0, 4), (4, 1.0 if fine else 0.88, 9), (8, 1.0 if fine else 0.88, 9), (12, 1.0 if fine else 0.5, 12)
        )
        if line := news.line(float(second), 99, seen if second >= 94 else None, early=CLIMB):
            lines.append(line)
    assert lines == ["after 108 s: so far fewer than 16 people; narrowing. The range before was a first impression"], (
        "it is said once it has stood, and as 16 are proven too many meanwhile"
    )


def test_only_what_is_proven_makes_the_range_before_a_first_impression() -> None:
    news = RangeNews(0.9)
    good, worse = seen_at((4, 1.0, 9), (8, 1.0, 9), (12, 1.0, 14)), seen_at((4, 1.0, 9), (8, 0.85, 30), (12, 0.5, 30))
    assert "probably 8 or more" in str(news.line(40.0, 40, good, early=CLIMB))
    lines = [news.line(50.0 + second, 60, worse, early=CLIMB) for second in range(12)]
    said = [line for line in lines if line]
    assert len(said) == 1
    assert said[0].endswith("Replies since the range before make it less certain")


def test_a_level_is_not_called_too_many_by_replies_that_nobody_has_seen_end() -> None:
    """The live line beside it says that no reply since settling has ended."""
    by = ", by replies still in progress"
    assert by in str(RangeNews(0.9).line(40.0, 43, None, early=CLIMB))
    ended = SimpleNamespace(users=16, share_fit=0.2, share_high=0.5, replies=20)
    seen: Any = SimpleNamespace(interval=(0, None), levels=(ended,))
    assert by not in str(RangeNews(0.9).line(40.0, 43, seen, early=CLIMB))
