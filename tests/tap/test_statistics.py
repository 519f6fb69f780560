"""What a recording amounts to, and what is concluded from it."""

from typing import Any

import pytest

from probe_ext.measure.sketch import MIN_COUNTS
from probe_ext.recording.recorded_request import SCHEMA, RecordedRequest, RecordingHead
from probe_ext.tap.shown.recording_page import render
from probe_ext.tap.shown.recording_view import recording_view
from probe_ext.tap.statistics import repeats, tally
from probe_ext.tap.statistics.activity import MAX_SPANS, Activity
from probe_ext.tap.statistics.implications import Implication, implications
from probe_ext.tap.statistics.repeats import Repeats
from probe_ext.tap.statistics.tally import OTHERS, Tally
from probe_ext.tap.statistics.totals import MAX_EXACT, Lengths, Totals


def line(number: int = 0, **values: Any) -> RecordedRequest:
    given = {"at": float(number), "duration": 0.5, "endpoint": "chat", "outcome": "complete", "model": "m"}
    return RecordedRequest(number=number, **{**given, "prompt": f"p{number}", "identical": f"i{number}", **values})


def totals_of(*lines: RecordedRequest) -> Totals:
    totals = Totals()
    for each in lines:
        totals.add(each)
    return totals


def concluded(totals: Totals, limit: int | None = None) -> dict[str, Implication]:
    return {each.name: each for each in implications(totals, limit)}


def test_two_prompts_in_the_whole_traffic() -> None:
    """The discovery that this command is for: 15 + 256 tokens needed of 8,192, and nearly everything repeated."""
    lines = [
        line(n, prompt=f"p{n % 2}", identical=f"i{n % 4}", input_tokens=15, output_tokens=120, characters=60,
             parameters={"max_tokens": 256, "temperature": 0}, duration=2.0)
        for n in range(100)
    ]  # fmt: skip
    found = concluded(totals_of(*lines), 8192)
    assert found["context"].title == "Context length: 271 tokens needed, 8,192 allowed"
    assert "--max-model-len 512" in found["context"].advice
    assert found["response_cache"].title == "A response cache would answer 96 % of requests"
    assert "3 min 12 s of 3 min 20 s" in found["response_cache"].why


@pytest.mark.parametrize(("limit", "pays"), [(600, False), (541, False), (543, True), (None, False)])
def test_context_length(limit: int | None, pays: bool) -> None:
    lines = [line(n, input_tokens=15, parameters={"max_tokens": 256}) for n in range(100)]
    found = concluded(totals_of(*lines), limit)["context"]
    assert found.pays is (pays or limit == 600)
    assert "271 tokens" in found.why


def test_a_request_without_a_limit_counts_with_what_was_generated() -> None:
    totals = totals_of(*(line(n, input_tokens=100, output_tokens=50) for n in range(10)))
    assert totals.needed.sketch.maximum == 150
    assert "10 of 10 requests set no limit" in concluded(totals, 1000)["context"].why


def test_unknown_token_counts_are_no_zeros() -> None:
    totals = totals_of(*(line(n, events=5) for n in range(10)))
    assert (totals.input.sketch.count, totals.output.sketch.count, totals.events_only) == (0, 0, 10)
    assert "counts no prompt tokens" in concluded(totals, 1000)["context"].why


def test_a_prefix_cache_pays_where_beginnings_repeat_and_the_server_finds_none() -> None:
    def found(cached: int | None) -> Implication:
        lines = [line(n, input_tokens=100, characters=400, prefix_seen=200, cached_tokens=cached) for n in range(10)]
        return concluded(totals_of(*lines))["prefix_cache"]

    assert found(0).title == "A prefix cache would save up to 50 % of prefill"
    assert found(None).pays
    assert found(48).title == "The prefix cache works"


def test_static_text_behind_a_difference() -> None:
    lines = [line(n, input_tokens=100, characters=400, prefix_seen=0, later_seen=300) for n in range(10)]
    assert "75 %" in concluded(totals_of(*lines))["prompt_order"].title
    plain = [line(n, input_tokens=100, characters=400, prefix_seen=0, later_seen=8) for n in range(10)]
    assert "prompt_order" not in concluded(totals_of(*plain))


def test_failed_replies_would_not_be_cached() -> None:
    totals = totals_of(*(line(n, identical="same", outcome="cut") for n in range(10)))
    assert totals.savings.requests == 0
    assert "response_cache" not in concluded(totals)


def test_few_requests_prove_nothing() -> None:
    assert list(concluded(totals_of(line(0), line(1)))) == ["too_few"]


def test_think_time_tool_pauses_and_turns_by_session() -> None:
    totals = totals_of(
        line(0, session="a", turn=0, at=0.0, duration=2.0),
        line(1, session="b", turn=0, at=1.0, duration=2.0),
        line(2, session="a", turn=1, at=10.0, duration=1.0),
        line(3, session="a", turn=2, at=11.5, duration=1.0, tool_results=1),
    )
    assert totals.sessions == 2
    assert totals.turns[:3] == [1, 0, 1]
    assert (totals.think.sketch.total, totals.tool_pause.sketch.total) == (8.0, 0.5)


def test_activity_keeps_its_sums_while_its_spans_grow() -> None:
    activity = Activity()
    for n in range(2000):
        activity.add(n * 3.0, 1.5, 2, failed=n % 10 == 0)
    assert len(activity.spans) <= MAX_SPANS
    assert sum(span.busy for span in activity.spans) == pytest.approx(3000.0)
    assert sum(span.arrived for span in activity.spans) == 2000
    assert sum(span.failed for span in activity.spans) == 200


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Tally()
    for n in range(200):
        names.add(str(n))
    assert len(names.most_common()) == tally.MAX_NAMES + 1
    assert names[OTHERS] == 200 - tally.MAX_NAMES
    monkeypatch.setattr(repeats, "MAX_NAMES", 10)
    seen = Repeats()
    for n in range(100):
        seen.add(str(n % 20))
    assert not seen.exact


HEAD = RecordingHead(schema=SCHEMA, upstream="http://127.0.0.1:8000", started_at="2026-01-31T12:00:00.000Z")


def test_the_page_escapes_what_clients_sent() -> None:
    totals = totals_of(*(line(n, model="<script>alert(1)</script>\u202e") for n in range(12)))
    page = render(recording_view(HEAD, totals, in_flight=None))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    assert "Reload for newer figures" not in page


def test_the_page_of_an_empty_recording() -> None:
    page = render(recording_view(HEAD, Totals(), in_flight=0))
    assert "0 requests so far, none for text." in page
    assert '<a href="">Reload for newer figures</a>' in page


def test_a_broken_off_line_is_said() -> None:
    assert "broken off" in render(recording_view(HEAD, totals_of(line()), in_flight=None, torn=1))


def figures_of(*lines: RecordedRequest) -> dict[str, str]:
    return dict(recording_view(HEAD, totals_of(*lines), in_flight=None).figures)


def test_idle_time_before_the_first_request_and_after_the_last_lowers_no_rate() -> None:
    late = [line(n, at=600.0 + n, duration=1.0) for n in range(10)]
    others = [line(20, endpoint="other", at=at, duration=0.0, outcome="served") for at in (0.0, 5000.0)]
    rate = "requests per second, from first arrival to last end"
    assert figures_of(*late, *others)[rate] == "1"
    assert figures_of(late[0])[rate] == "–"


def test_the_share_of_failures_is_of_requests_for_text() -> None:
    lines = [line(n, outcome="http_error" if n == 0 else "complete") for n in range(10)]
    others = [line(20 + n, endpoint="other", outcome="http_error", prompt=None) for n in range(10)]
    assert figures_of(*lines, *others)["failed, of requests for text"] == "10 %"


def test_a_request_whose_body_cannot_be_read_is_not_one_without_a_limit() -> None:
    lines = [line(n, input_tokens=15, parameters={"max_tokens": 256}) for n in range(10)]
    unread = line(10, prompt=None, identical=None, model=None, outcome="http_error", status=400)
    assert "set no limit" not in concluded(totals_of(*lines, unread), 1000)["context"].why
    free = line(11, input_tokens=15, output_tokens=5)
    why = concluded(totals_of(*lines, unread, free), 1000)["context"].why
    assert "1 of 11 requests with a readable body set no limit" in why


@pytest.mark.parametrize(
    ("known", "unknown", "pays"), [(100, 0, True), (99, 0, False), (180, 20, True), (180, 21, False)]
)
def test_a_shorter_context_is_advised_only_where_nearly_all_lengths_are_known(
    known: int, unknown: int, pays: bool
) -> None:
    lines = [line(n, input_tokens=15, parameters={"max_tokens": 256}) for n in range(known)]
    lines += [line(known + n, parameters={"max_tokens": 256}, outcome="http_error") for n in range(unknown)]
    found = concluded(totals_of(*lines), 8192)["context"]
    assert (found.pays, "--max-model-len" in found.advice) == (pays, pays)
    if unknown:
        assert f"longest of the {known} requests of known length" in found.why
    if not pays:
        assert f"known of {known} of {known + unknown}" in found.why


def lengths_of(*values: float) -> Lengths:
    lengths = Lengths()
    for value in values:
        lengths.add(value)
    return lengths


def test_percentiles_need_as_many_values_as_in_the_report_of_a_run() -> None:
    for name, least in MIN_COUNTS.items():
        assert lengths_of(*range(least - 1)).percentile(name) is None
        assert lengths_of(*range(least)).percentile(name) is not None
    view = recording_view(HEAD, totals_of(*(line(n, input_tokens=25 + n) for n in range(4))), in_flight=None)
    row = view.lengths[0]
    assert (row.p50, row.p95, row.p99, row.largest) == ("26", "–", "–", "28")
    (chart,) = (each for each in view.charts if each.name.startswith("Prompt"))
    assert chart.description == "Half have at most 26. The longest has 28."


def test_percentiles_are_values_that_occurred_and_the_mean_is_not_beyond_the_largest() -> None:
    values = [1000.0 + n for n in range(100)]
    lengths = lengths_of(*reversed(values))
    assert [lengths.percentile(name) for name in ("p50", "p95", "p99")] == [1049.0, 1094.0, 1098.0]
    many = lengths_of(*(1000.0 + n for n in range(2 * MAX_EXACT)))
    assert many.percentile("p95") == pytest.approx(2899.0, rel=0.0051)
    alike = lengths_of(*[0.1] * 3)
    assert alike.sketch.total / 3 > 0.1
    assert alike.mean == 0.1
    assert Lengths().mean is None
