"""Against printed tables."""

import numpy as np
import pytest

from probe_ext.verdict.inference.quantiles import f_quantile, score_limits, signed_root, student_quantile


@pytest.mark.parametrize(("freedom", "value"), [(3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (1e9, 1.960)])
def test_student_quantile(freedom: float, value: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(value, abs=0.02)


@pytest.mark.parametrize(("above", "below", "value"), [(2, 10, 1.899), (4, 12, 1.762), (1, 20, 1.757)])
def test_f_quantile(above: float, below: float, value: float) -> None:
    assert f_quantile(0.80, above, below) == pytest.approx(value, rel=0.03)


def test_signed_root_by_hand() -> None:
    # 20 of 20 against 0.9 with half a reply's correction: 2 · 20 · KL(0.975 ‖ 0.9) = 3.65
    root = signed_root(np.array([20.0]), np.array([20.0]), 0.9, 0.5)
    assert root[0] == pytest.approx(np.sqrt(40 * (0.975 * np.log(0.975 / 0.9) + 0.025 * np.log(0.25))), rel=1e-6)
    assert signed_root(np.array([18.0]), np.array([20.0]), 0.9, 0.5)[0] == pytest.approx(0.0, abs=1e-6)
    assert signed_root(np.array([0.0]), np.array([0.0]), 0.9, 0.5)[0] == 0.0


def test_score_limits_by_hand() -> None:
    low, high = score_limits(np.array([9.0]), np.array([10.0]), 1.96)
    assert low[0] == pytest.approx(0.596, abs=0.001)
    assert high[0] == pytest.approx(0.982, abs=0.001)
