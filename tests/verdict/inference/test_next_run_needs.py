"""Of runs drawn at random, the next run agrees with what its levels are said to need."""

import random

import pytest
from runs import sweep

from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.values.capacity_estimate import Criteria
from probe_ext.verdict.wording.next_run import REVISIT, next_measurement, next_step


@pytest.mark.parametrize("seed", range(40))
def test_next_run_takes_its_time_from_its_levels_and_keeps_both_ends(seed: int) -> None:
    draw = random.Random(seed)
    users = sorted(draw.sample((1, 2, 4, 8, 12, 16, 32), draw.randint(1, 4)))
    shares = sorted((draw.choice((1.0, 0.97, 0.92, 0.9, 0.85, 0.4)) for _ in users), reverse=True)
    found = estimate(sweep(dict(zip(users, shares, strict=True)), cycles=draw.choice((3, 8, 30)), seed=seed))
    required = draw.choice((0, *users, 24))
    more = next_measurement({"options": {"fail_under_users": required}}, found, Criteria())
    step = next_step(more, found)
    held, failed = found.bracket
    known = found.level(required)
    is_open = (held or 0) < required < (failed or 1000) and not (known and "users_differ" in known.reasons)
    if more is None or step is None:
        assert not is_open or (known and "contradicts_higher_level" in known.reasons)
        return
    assert {n for n in found.bracket if n is not None} | {step.users} <= {*more.levels}
    assert not is_open or required in more.levels
    for level in found.levels:
        if level.users in more.targets and level.state == "unproven" and not REVISIT & {*level.reasons}:
            assert level.seconds_needed is None or level.seconds_needed <= min(step.seconds, 3600)
            assert (level.users in more.settles) == (level.seconds_needed is not None)
