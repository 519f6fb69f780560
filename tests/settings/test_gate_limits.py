"""Reading `--fail-over`."""

import pytest

from probe_ext.settings.gate_limits import GateLimit, gate_limits, limits_text


def test_reads_limits_with_units_and_levels() -> None:
    assert gate_limits("ttft_p95=0.8, longest_gap_p95=2s@16,broken_share=1%") == (
        GateLimit("ttft_p95", 0.8, None),
        GateLimit("longest_gap_p95", 2.0, 16),
        GateLimit("broken_share", 0.01, None),
    )
    assert gate_limits("ttft_p50=800ms")[0].limit == pytest.approx(0.8)


def test_says_which_share_of_the_replies_must_keep_a_limit() -> None:
    assert [limit.keeping_share for limit in gate_limits("ttft_p50=1,ttft_p99=1,broken_share=5%")] == [0.5, 0.99, 0.95]


def test_nothing_is_no_gate() -> None:
    assert limits_text("  ") is None
    assert limits_text("ttft_p95=1") == "ttft_p95=1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ttft_p95", "must be FIGURE=LIMIT"),
        ("ttft_p9=1", "must be one of ttft_p50, ttft_p95"),
        ("ttft_p95=soon", "invalid duration"),
        ("ttft_p95=0", "must be greater than 0"),
        ("ttft_p95=1@0", "must be a positive integer"),
        ("broken_share=2", "at most 100%"),
        ("broken_share=100%", "below 100%"),
        ("broken_share=0.01%", "greater than 0"),
        ("ttft_p95=1,x=2", "x: must be one of"),
    ],
)
def test_names_the_invalid_part(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        gate_limits(text)
