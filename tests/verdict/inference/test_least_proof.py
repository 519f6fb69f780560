"""The announced least time for a proof is what the estimator then needs."""

import pytest
from runs import visit

from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.inference.level_estimates import least_proof
from probe_ext.verdict.values.capacity_estimate import Criteria


@pytest.mark.parametrize("users", [1, 2, 5, 16, 64, 1000])
@pytest.mark.parametrize("share", [0.8, 0.9, 0.97])
def test_level_without_unserved_replies_holds_from_then_on(users: int, share: float) -> None:
    criteria = Criteria(served_share=share)
    least = least_proof(users, 4.0, criteria)
    assert least is not None
    cycles = least.replies // users
    assert least.seconds == 4.0 * cycles

    def state(cycles: int) -> str:
        return estimate([visit(users, [True] * users * cycles)], criteria).levels[0].state

    assert state(cycles) == "held"
    assert cycles == 1 or state(cycles - 1) == "unproven"


def test_more_users_need_fewer_cycles() -> None:
    proofs = [least_proof(users, 1.0) for users in (1, 4, 16, 64)]
    cycles = [proof.seconds for proof in proofs if proof is not None]
    assert len(cycles) == 4
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[0] > 40


def test_no_proof_of_a_share_that_no_run_can_show() -> None:
    assert least_proof(1, 1.0, Criteria(served_share=1.0)) is None
