"""A stated server must have the truth that is stated."""

import pytest

from probe_ext.measure.table_rows import ReplyRow
from probe_ext.sim.profile import load_profile
from probe_ext.verdict.evidence.columns import from_rows
from scripts.study.adapter import estimate_run
from scripts.study.stated.stated_server import StatedSwarm
from scripts.study.stated.stated_truth import NEVER, StatedCase, flat
from scripts.study.virtual.people import People
from scripts.study.virtual.virtual_run import Run, drive


@pytest.mark.untraced
@pytest.mark.parametrize("share", [1.0, 0.0])
def test_only_the_stated_share_decides_whether_a_reply_is_served(share: float) -> None:
    """Replies take 2.2 to 7 s: one that takes long must not count as typed too slowly."""
    case = StatedCase("certain", flat(share), NEVER, icc=0.0)
    run = drive(
        Run(load_profile("demo"), People(), {}),
        1,
        lambda now, _: 30 if now < 120 else None,
        lambda _: None,
        lambda _profile, _people, seed, on_reply: StatedSwarm(case, seed, on_reply),
    )
    run.plan = None  # type: ignore[assignment]  # driven by hand
    replies = from_rows(run.replies, ReplyRow)
    assert (replies["end"] - replies["sent"]).max() > 6.3, "at 60 tokens each, less than 10 tokens/s"
    level = max(estimate_run(run.evidence).levels, key=lambda level: level.replies)
    assert level.replies > 500
    assert level.served_share == share


@pytest.mark.untraced
def test_a_reply_that_ends_with_its_user_is_served_if_its_first_token_was_in_time() -> None:
    """A search that goes down by many users ends as many replies: they must not make the level above look worse."""
    replies: list[ReplyRow] = []
    swarm = StatedSwarm(StatedCase("certain", flat(1.0), NEVER, icc=0.0), 1, replies.append)
    swarm.join(0.0)
    swarm.join(1.9)
    swarm.run_until(2.0)
    swarm.leave(2.0)
    swarm.leave(2.0)
    early, late = replies
    assert early.first is None, "sent 0.1 s ago"
    assert late.first is not None
    assert late.first - late.sent < 1.0
    assert late.outcome == "ended_by_us"
