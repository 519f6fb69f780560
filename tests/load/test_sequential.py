"""The sequential test: its error rates are what it states, and clear levels are decided soon."""

import math
from random import Random

import pytest

from probe_ext.load.sequential_test import ALPHA, GLANCE, Block, Bounds, Odds

CHAT = Bounds(0.90, 0.01)
FOR_EVER = 300
"""blocks: longer than any level lasts"""


def block(served: float, broken: float = 0.0) -> Block:
    return Block(0.0, served, broken)


def highest_odds(blocks: list[Block], claim: str) -> float:
    """The most that a claim was ever favoured, looked at after every block."""
    odds, most = Odds(), 0.0
    for one in blocks:
        odds = odds.after([one], CHAT)
        most = max(most, getattr(odds, claim))
    return most


def blocks_until(blocks: list[Block], claim: str, alpha: float, bounds: Bounds = CHAT) -> int | None:
    """After how many blocks a claim is proven; None if never."""
    odds = Odds()
    for number, one in enumerate(blocks, 1):
        odds = odds.after([one], bounds)
        if getattr(odds, claim) >= 1 / alpha:
            return number
    return None


@pytest.mark.parametrize(
    ("share", "claim", "alpha", "blocks"),
    [(1.0, "held", GLANCE, 5), (1.0, "held", ALPHA, 19), (0.0, "failed", GLANCE, 1), (0.0, "failed", ALPHA, 3),
     (0.5, "failed", ALPHA, 4), (0.8, "failed", ALPHA, 10), (0.88, "held", ALPHA, None)],
)  # fmt: skip
def test_how_many_equal_blocks_it_takes(share: float, claim: str, alpha: float, blocks: int | None) -> None:
    assert blocks_until([block(share)] * 40, claim, alpha) == blocks


@pytest.mark.untraced
@pytest.mark.parametrize("replies", [pytest.param(1, marks=pytest.mark.long), 8])
@pytest.mark.parametrize(("claim", "truth"), [("held", 0.80), ("failed", 0.90)])
def test_a_level_at_the_bound_is_called_the_other_thing_as_seldom_as_stated(
    claim: str, truth: float, replies: int
) -> None:
    """Looked at after every block, for ever: nothing is gained by stopping at a lucky moment."""
    random = Random(f"{claim}/{replies}")
    runs = 400

    def run() -> list[Block]:
        return [block(sum(random.random() < truth for _ in range(replies)) / replies) for _ in range(FOR_EVER)]

    most = [highest_odds(run(), claim) for _ in range(runs)]
    for alpha in (ALPHA, GLANCE):
        wrong = sum(odds >= 1 / alpha for odds in most)
        assert wrong <= alpha * runs + 2 * math.sqrt(alpha * (1 - alpha) * runs)


def test_broken_replies_prove_that_a_level_fails_although_few_are_not_served() -> None:
    bad = [block(0.97, 0.03)] * FOR_EVER
    assert blocks_until(bad, "failed", ALPHA) is not None
    assert blocks_until([block(0.97, 0.01)] * FOR_EVER, "failed", ALPHA) is None


def test_what_earlier_visits_told_goes_on_counting() -> None:
    some = [block(1.0), block(0.8), block(1.0)]
    in_two = Odds().after(some[:1], CHAT).after(some[1:], CHAT)
    at_once = Odds().after(some, CHAT)
    assert (in_two.held, in_two.failed) == (pytest.approx(at_once.held), pytest.approx(at_once.failed))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 1.0])
def test_any_profile_gives_a_test(share: float) -> None:
    """Also one that wants every reply served, or asks for little: a ratio stays a positive number."""
    for bounds in (Bounds(1.0, 0.0), Bounds(0.5, 0.2), Bounds(0.99, 0.01)):
        odds = Odds().after([block(share)] * 500, bounds)
        assert 0 <= odds.held < math.inf
        assert 0 <= odds.failed < math.inf
        assert blocks_until([block(1.0)] * FOR_EVER, "held", ALPHA, bounds)
        assert blocks_until([block(0.0)] * FOR_EVER, "failed", ALPHA, bounds)
