"""Whatever a judgement says, it says one thing: every part of it is held against every other."""

import json
import re

import jsonschema
import pytest

from probe_ext.report.outputs.capacity_schema import capacity_schema
from probe_ext.report.outputs.gate import gate
from probe_ext.verdict.phrasing.plurals import people, things, who_pause
from probe_ext.verdict.values.judgement import Judgement
from probe_ext.verdict.wording import unproven_level

SCHEMA = jsonschema.Draft202012Validator(capacity_schema())


def check_one_answer(verdict: Judgement) -> None:
    """Check states, bracket, interval, answer, sentence, next command, gate and findings against each other."""
    _check_json(verdict)
    _check_bracket(verdict)
    _check_answer(verdict)
    _check_sentence(verdict)
    _check_command(verdict)
    _check_gate(verdict)
    _check_findings(verdict)
    for one in verdict.dimensions.values():
        held, failed = one.bracket
        assert held is None or failed is None or held < failed
        assert one.served_users is None or one.served_users == 0 or (held or 0) <= one.served_users < (failed or 1e9)
    own = getattr(verdict.reasoning, verdict.reasoning.judged)
    assert (own.served_users, own.bracket) == (verdict.served_users, verdict.bracket)


def _check_json(verdict: Judgement) -> None:
    capacity = verdict.to_json()
    assert json.loads(json.dumps(capacity, allow_nan=False)) == capacity
    SCHEMA.validate(capacity)
    for level in verdict.levels:
        kinds = level.replies_served, level.replies_strained, level.replies_broken, level.replies_open
        assert sum(kinds) == level.replies_judged == sum(level.outcomes.values()) <= level.replies
        visits = [one for one in verdict.levels if one.users == level.users]
        if len(visits) == 1 and level.served_share is not None and not verdict.disturbed:
            assert level.slo_attainment == pytest.approx(level.served_share)


def _check_bracket(verdict: Judgement) -> None:
    held, failed = verdict.bracket
    by_state = {state: [one.users for one in verdict.levels if one.state == state] for state in ("held", "failed")}
    assert held == max(by_state["held"], default=None)
    assert failed == min(by_state["failed"], default=None)
    assert held is None or failed is None or held < failed
    for level in verdict.levels:
        assert bool(level.reasons) == (level.state == "unproven")
        assert len({other.state for other in verdict.levels if other.users == level.users}) == 1


def _check_answer(verdict: Judgement) -> None:
    held, failed = verdict.bracket
    served, interval = verdict.served_users, verdict.interval
    invalid = any(finding.makes_invalid for finding in verdict.findings)
    assert verdict.verdict == ("invalid" if invalid else "unproven" if served is None else "valid")
    assert (served is None) == (held is None and failed != 1)
    assert (served == 0) == (failed == 1)
    if interval is None:
        assert served is None
        return
    low, high = interval
    assert low >= (held or 0)
    assert high is None or low <= high
    assert failed is None or (high is not None and high < failed)
    if served is not None:
        assert max(held or 0, low) <= served
        assert failed is None or served < failed
        assert served <= (served if high is None else high)
    if verdict.estimate is not None:
        assert (held or 0) <= verdict.estimate < (failed or 1e9)
    assert verdict.suggestion is None or (verdict.suggestion.low, verdict.suggestion.high) == interval


def _check_sentence(verdict: Judgement) -> None:
    sentence, served = verdict.sentence, verdict.served_users
    held, failed = verdict.bracket
    assert sentence.startswith("Invalid measurement: ") == (verdict.verdict == "invalid")
    if served:
        paused = verdict.think_time
        how = " can use this at once" if paused is None else f"{who_pause(served, paused.mean)} can use this"
        assert f"{people(served)}{how}" in sentence
    else:
        assert "can use this" not in sentence
    spans = re.findall(r"95 %: (\d+) to (\d+)", sentence)
    assert not spans or (int(spans[0][0]), int(spans[0][1])) == verdict.interval
    assert re.findall(r"(\d+) holds", sentence) in ([], [str(held)])
    assert re.findall(r"(\d+) fails", sentence) in ([], [str(failed)])
    for number in re.findall(r"([\d,]+) (?:people at once )?are too many", sentence):
        assert int(number.replace(",", "")) == failed
    assert " 1 people" not in sentence
    assert " 1 are" not in sentence


def _check_command(verdict: Judgement) -> None:
    held, failed = verdict.bracket
    minutes = re.findall(r"a run of about (\d+) minutes? at", verdict.sentence)
    if verdict.next_command is None:
        assert not minutes
        return
    levels = (
        [int(users) for users in re.findall(r"--levels ([\d,]+)", verdict.next_command + " ")[0].split(",")]
        if ("--levels" in verdict.next_command)
        else []
    )
    assert levels or "--search" in verdict.next_command
    if verdict.verdict == "invalid":
        assert not minutes
        return
    step = verdict.next_step
    assert step.users in levels if step is not None else not (levels and verdict.levels)
    hold = re.findall(r"--hold=([\d.e+]+)", verdict.next_command)
    seconds = float(hold[0]) if hold else 30.0
    assert not minutes or int(minutes[0]) == max(1, round(len(levels) * seconds / 60))
    if not levels or not verdict.levels:
        return
    assert verdict.next_seconds == pytest.approx(len(levels) * seconds)
    revisited = any({"needs_second_visit", "visits_disagree"} & {*level.reasons} for level in verdict.levels)
    if not revisited:
        assert all(users >= (held or 0) for users in levels)
        assert all(failed is None or users <= failed for users in levels)
    _check_next_step(verdict, levels, seconds)


def _check_next_step(verdict: Judgement, levels: list[int], hold: float) -> None:
    """Check that the next run agrees with what its levels are said to need, and forgets no end of the bracket."""
    assert {users for users in verdict.bracket if users is not None} <= {*levels}
    assert verdict.next_step is not None
    assert verdict.next_step.seconds == hold
    target = next((level for level in verdict.levels if level.users == verdict.next_step.users), None)
    if target is None or target.state != "unproven" or verdict.next_step.reason == "second_visit":
        return
    needed = target.seconds_needed
    assert needed is None or needed <= min(hold, 3600), "the run is too short for what its level is said to need"
    if re.search(r"a run of about [^:;.]* would settle", verdict.sentence):
        assert needed is not None, "a run is said to settle what no reasonable time settles"
    if needed is None:
        assert "more replies would settle it" not in unproven_level.why_unproven(target)


def _check_gate(verdict: Judgement) -> None:
    held, failed = verdict.bracket
    capacity = verdict.to_json()
    assert gate(capacity, None) is None
    for users in sorted({1, 2, *(max(1, n + d) for n in (held or 1, failed or 1) for d in (-1, 0, 1)), 10_000}):
        gated = gate(capacity, users)
        assert gated is not None
        altered = {"response_cache", "cut_answers"} & {*verdict.diagnosis.bounds}
        invalid = verdict.verdict == "invalid"
        again = [level.users for level in verdict.levels if "needs_second_visit" in level.reasons]
        doubtful = invalid or any(n <= users for n in (*verdict.drift, *verdict.contradictions, *again))
        met = not doubtful and not altered and held is not None and held >= users
        missed = not doubtful and failed is not None and failed <= users
        assert gated.outcome == ("passed" if met else "failed" if missed else "unproven")
        assert gated.met == met
        assert gated.sentence.startswith(f"gate: at least {things(users, 'user')} served: ")


def _check_findings(verdict: Judgement) -> None:
    found = {finding.check: finding for finding in verdict.findings}
    unproven = sorted({level.users for level in verdict.levels if level.state == "unproven"})
    decided = bool(verdict.levels) and not unproven
    assert (found["levels"].state == "pass") == decided
    if unproven:
        assert f"{things(unproven[0], 'user')} (" in found["levels"].why
    assert found["drift"].state == "fail" or not verdict.drift
    assert not verdict.contradictions or found["in_order"].state == "fail"
