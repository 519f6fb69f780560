"""Users who pause: how long, and that every sentence says so."""

import numpy as np
import pytest
from one_answer import check_one_answer
from worlds import CHAT, evidence, good, manifest, reply, slow, staircase, worker

from probe_ext.measure.table_rows import ReplyRow
from probe_ext.report.wording.shared_sentences import MEASURED_TEAM, extra_sentences
from probe_ext.verdict.judge import judge
from probe_ext.verdict.results.team_size import Given
from probe_ext.verdict.values.judgement import Judgement

REPLY_S = 0.2 + 0.05 * 19
"""of `reply`"""


def team(
    users: int, start: float, seconds: float, pause: float, *, wait: float = 0.2, seed: int = 0, resting: bool = False
) -> list[ReplyRow]:
    """Return the replies of users who each pause exponentially around `pause` after a reply.

    They ask at once when they join; `resting`: after the rest of a pause.
    """
    draw = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        t = start + (float(draw.exponential(pause)) if resting else 0.05 * user)
        while t < start + seconds:
            rows.append(reply(user, t, first=t + wait))
            t = rows[-1].end + float(draw.exponential(pause))
    return rows


def judged(rows: list[ReplyRow], *steps: tuple[int, float], given: Given | None = None) -> Judgement:
    recorded = manifest(workers=[worker(started=len(rows))])
    verdict = judge(evidence(rows, staircase(*steps), manifest=recorded), CHAT, given=given or Given())
    check_one_answer(verdict)
    return verdict


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("resting", "pause"),
    [
        *((False, 3.0), (True, 30.0)),
        *(pytest.param(*one, marks=pytest.mark.long) for one in ((False, 30.0), (True, 3.0))),
    ],
)
def test_the_mean_pause_is_not_that_of_the_short_ones(pause: float, resting: bool) -> None:
    """The level lasts four pauses, so a plain mean of those that ended would come out too short."""
    means = []
    for seed in range(10):
        found = judged(team(40, 0, 4 * pause + 5, pause, seed=seed, resting=resting), (40, 4 * pause + 5)).think_time
        assert found is not None
        means.append(found.mean)
        assert found.waiting_share == pytest.approx(REPLY_S / (REPLY_S + found.mean), rel=0.01)
    assert np.mean(means) == pytest.approx(pause, rel=0.06)


def test_the_sentence_says_who_the_people_are() -> None:
    rows = [*team(20, 0, 400, 10), *team(40, 400, 400, 10, wait=2.0, seed=1)]
    verdict = judged(rows, (20, 400), (40, 400))
    assert verdict.think_time is not None
    assert verdict.bracket == (20, 40)
    assert verdict.sentence.startswith("At least 20 people who pause ")
    assert " on average can use this; 40 are too many." in verdict.sentence
    assert "at once" not in verdict.sentence


def test_nobody_is_served_and_a_suggestion_say_it_too() -> None:
    failed = judged(team(40, 0, 400, 10, wait=2.0), (40, 400))
    assert failed.sentence.startswith("40 people who pause ")
    assert " on average are too many." in failed.sentence
    unproven = judged(team(4, 0, 60, 10), (4, 60))
    assert "people who pause " in unproven.sentence
    for verdict in (failed, unproven):
        assert "at once" not in verdict.sentence


def test_users_who_ask_again_at_once_are_said_so() -> None:
    rows = [*good(8), *slow(16, 45)]
    verdict = judged(rows, (8, 45), (16, 45))
    assert verdict.think_time is None
    assert "can use this at once" in verdict.sentence


def test_a_team_is_not_computed_from_a_team() -> None:
    given = Given(think_time=30.0, price_per_hour=2.0)
    capacity = judged(team(20, 0, 400, 10), (20, 400), given=given).to_json()
    assert capacity["team"] is None
    said = extra_sentences(capacity, given)
    assert MEASURED_TEAM in said
    assert capacity["think_time"]["sentence"] in said
    assert "with 20 people who pause " in capacity["cost"]["sentence"]
    assert not any("no number of users is proven" in sentence for sentence in said)


def test_lost_rows_are_no_pause() -> None:
    """Half of the users have no rows at all, as after a worker was lost."""
    rows = [row for row in team(20, 0, 200, 0.01) if int(row.user.split(":")[1]) % 2]
    assert judged(rows, (20, 200)).think_time is None


def test_a_team_in_which_most_users_pause_is_not_called_at_once() -> None:
    """Five users never pause and send most requests; ten pause for 10 s."""
    rows = [row for row in team(15, 0, 300, 10) if int(row.user.split(":")[1]) >= 5] + team(5, 0, 300, 0.001)
    found = judged(rows, (15, 300)).think_time
    assert found is not None
    assert "Only about 67 % of the users paused" in found.sentence.replace("\u00a0", " ")


def test_a_few_users_who_pause_make_no_team() -> None:
    rows = [row for row in team(10, 0, 200, 10) if row.user == "w1:9"] + team(9, 0, 200, 0.001)
    assert judged(rows, (10, 200)).think_time is None
