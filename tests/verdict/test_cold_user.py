"""Cold-user gap: medians of both arms, their ratio, the hit rate, and checks that the arms are comparable."""

from typing import Any

import pytest
from worlds import CHAT, evidence, manifest, reply, staircase

from probe_ext.measure.table_rows import COLD, WARM, ReplyRow, ServerRow
from probe_ext.report.outputs.capacity_schema import validate
from probe_ext.report.sections.cards import cards
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.judgement import Judgement

SECONDS = 120


def arm(name: str, waits: list[float], **changes: Any) -> list[ReplyRow]:
    """Return replies of one arm, spread over the run and over eight users."""
    step = (SECONDS - 12) / len(waits)
    cached = 0 if name == COLD else 90
    defaults = {"scenario": name, "tokens_cached": cached}
    return [
        reply(k % 8, round(6 + step * k + (0.1 if name == WARM else 0.0), 3), **{"first": None, **defaults, **changes})
        if wait == float("inf")
        else reply(
            k % 8,
            sent := round(6 + step * k + (0.1 if name == WARM else 0.0), 3),
            first=sent + wait,
            **{**defaults, **changes},
        )
        for k, wait in enumerate(waits)
    ]


def judged(rows: list[ReplyRow], server: list[ServerRow] | None = None) -> Judgement:
    plan = {"levels": [8], "hold": 60.0, "settle": 5.0, "min_replies": 1}
    stated = manifest(plan=plan)
    return judge(evidence(rows, staircase((8, SECONDS)), server=server or [], manifest=stated), CHAT)


def counters(queries: float, hits: float, prompts: float) -> list[ServerRow]:
    """Return the server's counters at the start and end of the run."""
    names = {"prefix_queries": queries, "prefix_hits": hits, "prompt_tokens": prompts}
    return [
        ServerRow(t, "u", "0", name, 1000 + share * value)
        for name, value in names.items()
        for t, share in ((0.0, 0.0), (60.0, 0.4), (119.0, 1.0))
    ]


def check(found: Judgement, name: str) -> Any:
    return next(finding for finding in found.findings if finding.check == name)


WAITS = [0.9 + 0.01 * (k % 20) for k in range(60)]


def test_medians_ratio_and_interval() -> None:
    found = judged([*arm(COLD, [10 * wait for wait in WAITS]), *arm(WARM, WAITS)]).cold_user
    assert found.measured
    assert found.cold_p50 == pytest.approx(9.95, abs=0.01)
    assert found.warm_p50 == pytest.approx(0.995, abs=0.001)
    assert found.ratio == pytest.approx(10, rel=0.001)
    assert found.ratio_low is not None
    assert found.ratio_high is not None
    assert 9.5 <= found.ratio_low <= 10 <= found.ratio_high <= 10.5
    assert found.served is False
    assert (found.cold_replies, found.warm_replies) == (60, 60)


def test_noise_widens_the_interval() -> None:
    good_and_bad_times = ([0.2] * 12 + [4.0] * 12) * 3
    found = judged([*arm(COLD, good_and_bad_times), *arm(WARM, [0.1] * 72)]).cold_user
    assert found.ratio_low is not None
    assert found.ratio_high is not None
    assert found.ratio_high / found.ratio_low > 2


def test_a_cold_user_within_the_bound_is_served() -> None:
    found = judged([*arm(COLD, [0.8] * 20), *arm(WARM, [0.1] * 20)]).cold_user
    assert found.served is True


def test_a_reply_without_a_first_word_waited_longest() -> None:
    dead = {"outcome": "timeout_first", "tokens_out": None, "tpot": None}
    rows = [*arm(COLD, [0.5] * 9), *arm(COLD, [float("inf")] * 11, **dead), *arm(WARM, [0.1] * 20)]
    rows = [
        row if row.scenario == WARM else ReplyRow(**{**_plain(row), "reply_id": f"c{k}"}) for k, row in enumerate(rows)
    ]
    found = judged(rows).cold_user
    assert found.measured
    assert found.cold_p50 is None
    assert found.ratio is None
    assert found.served is False


def _plain(row: ReplyRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ReplyRow.__slots__}


def test_replies_aborted_before_the_first_word_are_left_out() -> None:
    ours = {"outcome": "ended_by_us", "tokens_out": None, "tpot": None}
    rows = [*arm(COLD, [0.5] * 9), *arm(COLD, [float("inf")] * 11, **ours), *arm(WARM, [0.1] * 20)]
    found = judged(rows).cold_user
    assert found.cold_replies == 9
    assert found.cold_p50 == pytest.approx(0.5)


@pytest.mark.parametrize("rows", [[], arm(COLD, [0.5] * 20), [*arm(COLD, [0.5] * 20), *arm(WARM, [0.1] * 4)]])
def test_one_arm_or_too_few_replies_measure_nothing(rows: list[ReplyRow]) -> None:
    found = judged([*rows, *(reply(9, 10.0 + k) for k in range(5))])
    assert not found.cold_user.measured
    assert "probe run cold_user" in found.cold_user.how
    assert found.cold_user.ratio is None
    assert not [finding for finding in found.findings if finding.check.startswith("cold_user")]


def both(**cold: Any) -> list[ReplyRow]:
    return [*arm(COLD, [0.9] * 30, **cold), *arm(WARM, [0.1] * 30)]


def test_the_hit_rate_comes_from_the_server() -> None:
    found = judged(both(), counters(6000, 2700, 6000)).cold_user
    assert (found.hit_rate, found.hit_rate_from) == (pytest.approx(0.45), "server")
    assert (found.cold_cached, found.warm_cached) == (0.0, pytest.approx(0.9))


@pytest.mark.parametrize("server", [counters(9000, 5400, 6000), counters(0, 0, 6000), []])
def test_without_usable_counters_the_hit_rate_comes_from_the_replies(server: list[ServerRow]) -> None:
    found = judged(both(), server).cold_user
    assert (found.hit_rate, found.hit_rate_from) == (pytest.approx(0.45), "client")


def test_without_counters_and_usage_the_hit_rate_is_missing() -> None:
    rows = [*arm(COLD, [0.9] * 30, tokens_cached=None), *arm(WARM, [0.1] * 30, tokens_cached=None)]
    found = judged(rows)
    assert (found.cold_user.hit_rate, found.cold_user.hit_rate_from) == (None, None)
    assert check(found, "cold_user_cache").state == "unproven"


def test_unequal_output_is_flagged() -> None:
    found = judged(both(tokens_out=42))
    assert check(found, "cold_user_output").state == "fail"
    assert not check(found, "cold_user_output").invalidates
    assert check(judged(both()), "cold_user_output").state == "pass"


def test_output_that_differs_by_chance_is_not_flagged() -> None:
    lengths = [10, 60, 25, 90, 14, 33]
    cold = [row for k, n in enumerate(lengths) for row in arm(COLD, [0.9] * 5, tokens_out=n, reply_id=f"c{k}")]
    warm = [
        row for k, n in enumerate(lengths[::-1]) for row in arm(WARM, [0.1] * 5, tokens_out=n + 5, reply_id=f"w{k}")
    ]
    spread = [
        ReplyRow(
            **{**_plain(row), "reply_id": f"r{k}", "sent": 6.0 + 1.7 * k, "due": 6.0 + 1.7 * k, "first": 6.5 + 1.7 * k}
        )
        for k, row in enumerate(cold + warm)
    ]
    assert check(judged(spread), "cold_user_output").state == "pass"


def test_arms_that_differ_in_length_or_not_in_the_cache_are_flagged() -> None:
    assert check(judged(both(tokens_in=130)), "cold_user_prompts").state == "fail"
    assert check(judged(both()), "cold_user_prompts").state == "pass"
    assert check(judged(both(tokens_cached=50)), "cold_user_cache").state == "fail"
    assert check(judged(both()), "cold_user_cache").state == "pass"
    nothing_cached = [*arm(COLD, [0.9] * 30), *arm(WARM, [0.9] * 30, tokens_cached=0)]
    assert check(judged(nothing_cached), "cold_user_cache").state == "fail"


@pytest.mark.parametrize("rows", [both(), [reply(k % 8, 10.0 + k) for k in range(20)]])
def test_the_gap_follows_the_schema_and_has_a_card(rows: list[ReplyRow]) -> None:
    capacity = judged(rows, counters(6000, 2700, 6000)).to_json()
    validate(capacity)
    card = cards(capacity, [CHAT])[-1]
    assert card.key == "cold"
    if capacity["cold_user"]["measured"]:
        assert card.answer.startswith("0.90 s cold, 0.10 s warm: 9.0 ×")
        assert "cold users are served" in card.caption
        assert "45 %" in card.caption
    else:
        assert card.answer == "not measured in this run"
        assert "probe run cold_user" in card.caption
