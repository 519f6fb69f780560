"""Content of the page, tested on its view model: figures, words and limits, never markup."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic_run
from report_views import viewed

from probe_ext.bundled import folder
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import ReplyRow, UserRow
from probe_ext.report.inputs import frames
from probe_ext.report.sections import cards, provenance
from probe_ext.report.sections.cards import FAILURES
from probe_ext.report.sections.level_table import Table, figures_table
from probe_ext.report.sections.page import Page
from probe_ext.report.sections.page import page as view
from probe_ext.report.wording import answer_context
from probe_ext.report.wording.level_names import in_time
from probe_ext.run import manifest
from probe_ext.run.tables import TableWriter
from probe_ext.settings.slo import load_profile
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.answer import Answer
from probe_ext.verdict.wording.shared_trait_phrase import NOTHING_SHARED


@pytest.fixture(scope="module")
def page(whole_run: Path) -> Page:
    """Return the page of the synthetic run: 4 users hold, 8 fail, silence is the first limit."""
    return viewed(whole_run)


def test_the_answer_in_its_parts(page: Page) -> None:
    answer = page.answer
    assert (answer.before, answer.number, answer.after) == ("About ", "6", " people can use this at once.")
    assert answer.rest.startswith("Silent pauses ")
    assert answer.meaning == "concurrent users that meet the SLO profile chat"
    assert page.interval == "95 % interval: 4 to 7"
    assert page.next is not None
    assert page.next.purpose == "To narrow the answer (about 6 minutes)"
    assert page.next.command[:3] == ["probe", "run", "capacity"]
    shown = [*page.findings, *(one for one in page.folded if one not in page.findings)]
    warnings, passed, undecided = (sum(one.kind == kind for one in shown) for kind in ("warn", "good", "open"))
    assert page.trust == f"With {warnings} warning; {passed} checks passed, {undecided} undecided."
    assert warnings + passed + undecided == len(shown)
    above = sum(one.kind == "open" for one in page.findings)
    of = f"{undecided - above} of " if above else ""
    assert page.folded_summary == f"{passed} checks passed, {of}{undecided} undecided"


def shown(whole_run: Path, **changes: Any) -> Page:
    """Return the page of the synthetic run with other results."""
    profile = load_profile("chat", folder("configs") / "slo")
    evidence = frames.load(whole_run)
    return view({**judge(evidence, profile).to_json(), **changes}, evidence, profile)


def test_the_table_says_which_replies_its_shares_leave_out(whole_run: Path) -> None:
    said = next(note for note in shown(whole_run).notes if "judged" in note)
    counts = [int(number) for number in re.findall(r"\b\d+\b(?! s\b)", said)]
    judged_replies, of_all, late, outside = counts
    assert judged_replies + late + outside == of_all == judged(whole_run)["replies"]
    assert "8 were sent in the last 1 s of a level" in said
    profile = {**judged(whole_run)["profile"], "first_word": None}
    assert not any("in the last" in note for note in shown(whole_run, profile=profile).notes)


def test_reasoning_is_mentioned_only_where_the_model_shows_some(whole_run: Path) -> None:
    levels = judged(whole_run)["levels"]
    plain = shown(whole_run)
    assert not [note for note in plain.notes if "reasoning" in note]
    thinking = shown(whole_run, levels=[{**level, "ttft_visible_p95": 9.0} for level in levels])
    (note,) = [note for note in thinking.notes if "reasoning" in note]
    assert note == "Whether or not the model's reasoning counts as text: 6 users served."
    counts = {"shown": {"served_users": 6}, "hidden": {"served_users": None}}
    (note,) = [note for note in shown(whole_run, reasoning=counts).notes if "reasoning" in note]
    assert note.endswith(": 6 users served; if only visible text counts: no capacity proven.")


def test_an_unproven_level_says_why_below_the_picture_and_in_the_table(whole_run: Path) -> None:
    levels = judged(whole_run)["levels"]
    six = {**levels[-1], "users": 6, "users_low": 6, "users_high": 6, "state": "unproven", "replies_needed": 1}
    page = shown(whole_run, levels=[*levels, {**six, "reasons": ["too_few_replies"]}])
    assert page.picture_notes[0] == "Proven: 4 holds, as do 1 and 2; 8 fails. Not proven: 6 (too few replies)."
    assert page.results.rows[3].cells[0].below == "too few replies; about 1 more reply would settle it"
    assert [bar.state for bar in page.stack.bars] == ["held", "held", "held", "unproven", "failed"]


def judged(run: Path) -> dict[str, Any]:
    return judge(frames.load(run), load_profile("chat", folder("configs") / "slo")).to_json()


def test_a_profile_that_asks_for_more_than_can_be_proven_is_named(whole_run: Path) -> None:
    capacity = judged(whole_run)
    assert answer_context.doubts(capacity) == []
    capacity["profile"]["users"]["served_share"] = 0.995
    (title, _), *_ = answer_context.doubts(capacity)
    assert title.startswith("No run proves that 99.5 % of the replies are served")


def test_where_nothing_is_proven_the_suggestion_is_marked(whole_run: Path) -> None:
    open_levels = [{**one, "state": "unproven", "reasons": ["too_close"]} for one in judged(whole_run)["levels"]]
    page = shown(
        whole_run,
        verdict="unproven",
        answer=asdict(Answer("", (), "Probably about 5 people (2 to 7), not proven", "", "", "2 to 7", "")),
        served_users=None,
        bracket=[None, None],
        interval=[2, 7],
        suggestion={"users": 5, "low": 2, "high": 7},
        levels=open_levels,
    )
    assert page.badge.text == "capacity not proven"
    assert (page.answer.number, page.answer.before) == ("", "Probably about 5 people (2 to 7), not proven.")
    assert "probably 5, not proven" in [label.text for label in page.stack.plot.labels]
    assert page.picture_notes[0] == "Proven: nothing. Not proven: 1, 2, 4 and 8 (too close to call)."


def test_users_who_differ_drift_and_contradictions_are_near_the_top(whole_run: Path) -> None:
    levels = judged(whole_run)["levels"]
    worse = {"users": 2, "share": 0.61, "others_share": 0.97}
    page = shown(
        whole_run,
        levels=[*levels[:-1], {**levels[-1], "worse_group": worse, "reasons": ["needs_second_visit"]}],
        groups={
            "worse_users": 2,
            "users": 8,
            "worse": 3.2,
            "worse_interval": [2, 4],
            "others": None,
            "others_interval": [8, None],
            "shared": None,
        },
        drift=[4],
        contradictions=[1, 2],
    )
    assert [title for title, _ in page.doubts] == [
        "Users are not served alike.",
        "The server changed during the run: visits to 4 users differ by more than chance.",
        "Service at 1 and 2 users was worse than with more users.",
        "One bad stretch makes 8 users fall short.",
    ]
    assert page.doubts[0][1].startswith(
        "By their own replies, the capacity (95 %) is 2 to 4 for the worse group and 8 or more for the others. "
        "Users who keep asking in step with each other may look like this: "
    ), "the metrics show a single engine"
    assert page.doubts[0][1].endswith(f" {NOTHING_SHARED}")
    assert page.results.rows[-1].cells[0].why.startswith("At 8 users, 61 %")


@pytest.mark.parametrize(("slow_replica", "cause"), [("absent", "in step"), ("unknown", "slow replica")])
def test_no_slow_replica_is_suggested_where_it_is_ruled_out(whole_run: Path, slow_replica: str, cause: str) -> None:
    capacity = judged(whole_run)
    group = {"users": 2, "share": 0.61, "others_share": 0.97}
    levels = [{**level, "worse_group": None} for level in capacity["levels"]]
    rules = [
        {**rule, "state": slow_replica} if rule["rule"] == "slow_replica" else rule
        for rule in capacity["diagnosis"]["rules"]
    ]
    page = shown(
        whole_run,
        levels=[*levels[:-1], {**levels[-1], "worse_group": group}],
        diagnosis={**capacity["diagnosis"], "rules": rules},
    )
    ((title, text),) = page.doubts
    assert title == "Users are not served alike."
    assert [words in text for words in ("in step", "slow replica")] == [cause == "in step", cause == "slow replica"]


def test_a_group_of_several_visits_is_an_estimate(whole_run: Path) -> None:
    """Each visit may have had users of its own: how many were worse off is a mean."""
    last = {**judged(whole_run)["levels"][-1], "worse_group": {"users": 2, "share": 0.61, "others_share": 0.97}}
    assert answer_context.worse_group(in_time([last])[0]).startswith("At 8 users, 61 % of the replies of 2 users were")
    assert "of the replies of about 2 users were" in answer_context.worse_group(in_time([last, last])[0])


def test_no_percentile_is_shown_over_too_few_replies(page: Page) -> None:
    heads = [column.unit for column in page.figures.columns][1:]
    cells = dict(zip(heads, page.figures.rows[-1].cells, strict=True))
    assert (cells["p95"].text, cells["p95"].why) == ("0.40 s", "")
    assert (cells["p99"].text, cells["p99"].why) == ("–", "p99 needs 100 replies with text, there are 54")


def test_a_worker_lost_on_the_way_is_named_on_the_first_screen(whole_run: Path) -> None:
    capacity = judged(whole_run)
    lost = {
        "check": "workers",
        "state": "fail",
        "invalidates": False,
        "why": "Worker 2 on vm was lost at 0:13: 9 replies of it were recorded.",
        "advice": "See its log.",
    }
    findings = [finding for finding in capacity["findings"] if finding["check"] != "workers"]
    page = shown(whole_run, findings=[*findings, lost])
    assert re.fullmatch(
        r"With 2 warnings; \d+ checks passed, \d+ undecided\. Worker 2 on vm was lost at 0:13: .*", page.trust
    )


def test_badge_and_facts(page: Page) -> None:
    assert page.badge.text == "valid run"
    assert page.facts == [
        "model tiny-llama",
        "SLO profile chat",
        "4 levels, 2 min 40 s",
        "2 load generators",
        "2 Jan 2026, 03:04 UTC",
    ]
    assert page.invalid_because == []


def test_the_chart_stacks_shares_and_marks_the_answer(page: Page) -> None:
    titles = [part[4] for bar in page.stack.bars for part in bar.parts]
    assert titles == [
        "1 user: 100 % of replies served",
        "2 users: 100 % of replies served",
        "4 users: 100 % of replies served",
        "8 users: 56 % of replies served",
        "8 users: 44 % of replies strained",
    ]
    assert page.stack.mark_x == pytest.approx(75), "half-way from 4 to 8"
    labels = [label.text for label in page.stack.plot.labels]
    assert "about 6" in labels
    assert [label.text for label in page.stack.plot.labels if label.kind.startswith("sign")] == ["✓", "✓", "✓", "✗"]
    assert page.stack.plot.points[-1] == "8 users: 56 % served, 44 % strained (fails)"
    assert page.stack.plot.description.endswith("(fails); about 6; 95 % interval: 4 to 7")


def test_the_fit_crosses_what_a_person_needs_between_the_answer_and_one_more(page: Page) -> None:
    (fit,) = page.stack.plot.shapes
    points = [tuple(map(float, point.split())) for point in fit.d[1:].split("L")]
    (x,) = [x for x, y in points if y == pytest.approx(page.stack.limit_y, abs=0.01)]
    assert page.stack.mark_x is not None
    assert page.stack.mark_x <= x / 10 < page.stack.mark_x + 25 / 4, "from 4 to 8 users, it is 25 % of the picture"


def test_bars_do_not_leave_the_plot(page: Page) -> None:
    for bar in page.stack.bars:
        assert 0 <= bar.x < bar.x + bar.width <= 100
        for _, top, height, _, _ in bar.parts:
            assert 0 <= top <= top + height <= 100.0001


def test_a_card_for_each_dimension(page: Page) -> None:
    assert [(card.key, card.answer, card.is_first_limit) for card in page.cards] == [
        ("first_word", "proven up to 4 users, no limit seen up to 8", False),
        ("typing", "proven up to 4 users, no limit seen up to 8", False),
        ("silence", "proven up to 4 users, fails at 8 users, first limit", True),
        ("cold", "not measured in this run", False),
    ]
    alone = "By this alone, 95 %: 4 to 7 users."
    assert page.cards[2].caption == f"{alone} 95 % of replies had no silence longer than this (p95)"
    assert page.cards[0].plot is not None
    assert page.cards[0].plot.description == ("1 user: 50 ms; 2 users: 0.10 s; 4 users: 0.20 s; 8 users: 0.40 s")


def test_every_failure_has_a_label() -> None:
    assert set(FAILURES) == set(Outcome) - {Outcome.COMPLETE, Outcome.ENDED_BY_US}
    assert not any("_" in label for label in FAILURES.values())


def test_failed_replies_get_a_card_with_their_outcomes(run: Path) -> None:
    text = (run / "requests.csv").read_text(encoding="utf-8")
    (run / "requests.csv").write_text(text.replace(",complete,", ",empty,", 90), encoding="utf-8")
    card = next(card for card in viewed(run).cards if card.key == "answer")
    assert re.fullmatch(r"of \d+ replies judged: \d+ without a token", card.caption)


def test_a_single_level_does_not_fill_the_chart(run: Path) -> None:
    rows = (run / "users.csv").read_text(encoding="utf-8").splitlines()
    (run / "users.csv").write_text("\n".join(rows[:40]) + "\n", encoding="utf-8")
    (bar,) = viewed(run).stack.bars
    assert bar.width < 30


def test_the_tables_have_the_figures_of_the_synthetic_run(page: Page) -> None:
    def of(table: Table) -> dict[str, dict[str, str]]:
        heads = [" ".join(filter(None, [c.head, c.unit])) for c in table.columns]
        return {row.head: dict(zip(heads[1:], [c.text for c in row.cells], strict=True)) for row in table.rows}

    results, figures = of(page.results), of(page.figures)
    assert results["8"] == {
        "result": "✗\u00a0fails",
        "served share": "56 %",
        "served 95 % interval": "33 % to 76 %",
        "served fit": "56 %",
        "broken share": "0 %",
        "broken at most": "16 %",
        "replies judged": "54",
        "what costs replies": "silence",
    }
    assert figures["8"] == {
        "tokens/s total": figures["8"]["tokens/s total"],
        "tokens/s per reply, p50": figures["8"]["tokens/s per reply, p50"],
        "TTFT p50": "0.40 s",
        "TTFT p95": "0.40 s",
        "TTFT p99": "–",
        "longest silence": "4.0 s",
        "server KV-cache peak": "100 %",
        "server preempted": "7",  # of 9 counted, two are attributed to the settling time
        "server waiting peak": "2",
    }
    assert figures["1"]["tokens/s per reply, p50"] == "55"
    assert [row.state for row in page.results.rows] == ["held", "held", "held", "failed"]


def test_the_servers_own_times_are_shown_where_it_sends_them(whole_run: Path, page: Page) -> None:
    levels = judged(whole_run)["levels"]
    plain = figures_table(levels, "")
    sent = figures_table([{**level, "server_ttft_p50": 0.2, "way_p50": 0.05} for level in levels], "")
    units = [column.unit for column in sent.columns if column not in plain.columns]
    assert units == ["at server, p50", "way, p50"]
    assert [cell.text for cell in sent.rows[0].cells][5:7] == ["0.20 s", "50 ms"]
    assert {column.term for column in sent.columns} <= set(page.glossary)


def test_every_figure_has_a_definition(page: Page) -> None:
    assert page.axis is not None
    used = {column.term for table in (page.results, page.figures) for column in table.columns}
    used |= {lane.term for lane in page.axis.lanes} | {card.key for card in page.cards}
    used |= {"served", "strained", "broken", "needed", "fit", "interval", "users"}
    assert used <= set(page.glossary)


def test_the_timeline_has_its_lanes_with_pauses_as_holes(page: Page) -> None:
    assert page.axis is not None
    lanes = {lane.term: lane for lane in page.axis.lanes}
    assert list(lanes) == [
        "users",
        "ttft",
        "tokens_per_s",
        "locust_rate",
        "words",
        "silent",
        "kv",
        "waiting",
        "preemptions",
    ]
    held = [hold for _, hold in synthetic_run.replies() if hold]
    assert lanes["words"].unit == f"{len(held)} pauses"
    assert lanes["words"].plot is not None
    assert lanes["words"].plot.shapes[1].d.count("M") == len(held)
    assert lanes["preemptions"].unit == "11"
    assert [stretch.state for stretch in page.axis.stretches] == ["held", "held", "held", "failed"]


def test_locusts_own_rates_are_a_lane(page: Page) -> None:
    assert page.axis is not None
    lane = next(lane for lane in page.axis.lanes if lane.term == "locust_rate")
    (series,) = lane.series
    assert (series.t[0], series.v[0]) == (0, 0)
    assert max(series.v) == 15.8  # from Aggregated, within the run: neither the 99 of another row nor the 77 before it


def test_both_counts_are_stated(page: Page) -> None:
    assert "They agree: probe recorded" in page.counts


def test_a_disagreement_with_locust_is_stated(run: Path) -> None:
    synthetic_run.write_locust(run, 100, 0)
    page = viewed(run)
    assert page.counts.startswith("They disagree:")
    assert any(finding.kind in {"warn", "bad"} for finding in page.findings)


def test_missing_server_metrics_are_dashes_with_a_reason(run: Path) -> None:
    (run / "server.csv").unlink()
    content = synthetic_run.manifest_of()
    content["server"][0]["metrics"] = "404 Not Found"
    manifest.write(run, content)
    page = viewed(run)
    assert page.axis is not None
    absent = [lane for lane in page.axis.lanes if lane.plot is None]
    assert [lane.term for lane in absent] == ["kv", "waiting", "preemptions"]
    assert all("404 Not Found" in lane.why_empty for lane in absent)
    cell = page.figures.rows[0].cells[-3]
    assert (cell.text, cell.kind) == ("–", "none")
    assert "404 Not Found" in cell.why


def test_lost_rows_come_before_any_number(run: Path) -> None:
    content = synthetic_run.manifest_of()
    content["workers"][0]["started"] += 7
    manifest.write(run, content)
    page = viewed(run)
    assert page.badge.kind == "invalid"
    assert page.invalid_because
    assert page.answer.number == ""
    assert page.answer.before.startswith("Invalid measurement: 214 replies were started, but 7 rows are missing")


def test_empty_run_has_a_page_without_figures(tmp_path: Path) -> None:
    manifest.write(tmp_path, synthetic_run.manifest_of(workers=[], server=[], plan=None))
    page = viewed(tmp_path)
    assert page.badge.kind != "valid"
    assert page.results.rows == []
    assert page.axis is None
    assert len(page.damage) == 6


def test_manifest_of_bare_keys_is_enough(tmp_path: Path) -> None:
    manifest.write(tmp_path, {"schema": 1})
    assert viewed(tmp_path).facts[0] == "model –"


def test_other_profile_changes_bounds_and_definitions(run: Path) -> None:
    hasty = run.parent / "hasty.yaml"
    hasty.write_text("first_word: {served: 0.15, strained: 1}\nusers: {served_share: 0.8}\n", encoding="utf-8")
    page = viewed(run, str(hasty))
    assert [card.answer for card in page.cards] == [
        "proven up to 2 users, fails at 4 users, first limit",
        "not judged by this profile",
        "not judged by this profile",
        "not measured in this run",
    ]
    assert ("first word", "served up to 0.15 s, broken past 1 s; counted from due") in page.blocks[-2].facts
    assert "at least 80 %" in page.glossary["served"].meaning


@pytest.mark.untraced
def test_points_are_bounded_and_keep_the_worst(run: Path) -> None:
    writer = TableWriter(run / "requests.csv", ReplyRow)
    writer.append(synthetic_run.reply(20_000 + i, i % 8, 0.01 * i, 1) for i in range(10_000))
    worst = synthetic_run.reply(99_999, 0, 33.0, 150)
    writer.append([worst])
    writer.close()
    page = viewed(run)
    assert page.axis is not None
    lane = next(lane for lane in page.axis.lanes if lane.term == "ttft")
    assert lane.plot is not None
    assert sum(shape.d.count("h0") for shape in lane.plot.shapes) <= 8000
    assert max(lane.series[0].v) == pytest.approx(7.499)
    assert "of 10,2" in lane.note


@pytest.mark.untraced
def test_long_run_stays_bounded(run: Path) -> None:
    writer = TableWriter(run / "users.csv", UserRow)
    rng = np.random.default_rng(1)
    writer.append(UserRow(161.0 + i, int(n), None, "running") for i, n in enumerate(rng.integers(1, 400, 20_000)))
    writer.close()
    page = viewed(run)
    assert page.axis is not None
    assert all(len(series.t) <= 8000 for lane in page.axis.lanes for series in lane.series)


def test_series_are_plain_numbers_for_the_script(page: Page) -> None:
    assert page.axis is not None
    for lane in page.axis.lanes:
        for series in lane.series:
            assert len(series.t) == len(series.v)
            json.dumps([list(series.t), list(series.v)], allow_nan=False)


def test_a_preemption_that_may_belong_to_another_level_is_marked(whole_run: Path) -> None:
    levels = json.loads((whole_run / "capacity.json").read_text(encoding="utf-8"))["levels"]
    last = {**levels[-1], "preemptions": 7, "preemptions_unsure": 2}
    sure, uncertain = (
        row.cells[[column.term for column in shown.columns].index("preemptions") - 1]
        for shown in (figures_table([{**last, "preemptions_unsure": 0}], ""), figures_table([last], ""))
        for row in shown.rows
    )
    assert (sure.text, sure.below, sure.why) == ("7", "", "")
    assert (uncertain.text, uncertain.below, uncertain.why) == (
        "7",
        "2 uncertain",
        "2 of them may belong to another level",
    )


def test_a_point_says_what_is_proven_of_its_dimension(page: Page) -> None:
    plots = {card.key: card.plot for card in page.cards if card.plot}
    kinds = {key: [shape.kind for shape in plot.shapes if "dot" in shape.kind] for key, plot in plots.items()}
    assert kinds["silence"] == [*["dot big held"] * 3, "dot big failed"]
    assert kinds["typing"] == [*["dot big held"] * 3, "dot big unproven"], "fine, but not proven"


def test_a_limit_in_sight_is_not_denied() -> None:
    below = {"users": 8, "state": "unproven", "served_share": 0.85}
    result = {
        "bracket": [4, None],
        "interval": None,
        "levels": [{"users": 4, "state": "held", "served_share": 1}, below],
    }
    assert cards._capacity(result, first=False) == "proven up to 4 users"
    unknown = {**result, "levels": [*result["levels"][:1], {**below, "served_share": None}]}
    assert cards._capacity(unknown, first=False) == "proven up to 4 users"


def test_what_to_change_stands_on_the_first_screen(page: Page) -> None:
    assert page.change.title == "What to change"
    assert page.change.sentence == page.limits.sentence
    assert page.change.advice == page.limits.holds[0].advice


def test_the_contents_name_what_the_page_has(page: Page) -> None:
    shown = dict(page.contents)
    assert {"h-q", "h-b", "h-t", "levels", "h-f", "h-files", "h-g"} <= set(shown)
    assert ("h-team" in shown, "h-gpu" in shown) == (bool(page.team_facts), page.gpu is not None)


def test_files_beside_the_page_are_those_that_are_there() -> None:
    names = [name for name, _ in provenance.files({"requests.csv", "other.txt", "gpu.csv"}).facts]
    assert names == ["capacity.json", "summary.md", "junit.xml", "requests.csv", "pauses.csv", "gpu.csv"]


def test_a_first_limit_is_named_only_where_a_number_of_users_is_proven_too_many(whole_run: Path) -> None:
    first = [card.is_first_limit for card in shown(whole_run).cards]
    assert any(first)
    unproven = shown(whole_run, bracket=(None, None))
    assert not any(card.is_first_limit or "first limit" in card.answer for card in unproven.cards)
