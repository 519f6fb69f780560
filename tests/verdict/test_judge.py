"""From rows to the answer: the worked cases of the definitions."""

import json
from importlib.resources import files

import jsonschema
import numpy as np
from worlds import CHAT, evidence, slow_start, staircase, steady

from probe_ext.measure.rows import ReplyRow
from probe_ext.verdict.evidence import Evidence
from probe_ext.verdict.judge import judge
from probe_ext.verdict.judgement import Judgement

SCHEMA = json.loads(files("probe_ext.verdict").joinpath("capacity.schema.json").read_text(encoding="utf-8"))


def judged(replies: list[ReplyRow], *steps: tuple[int, float], **changes: object) -> Judgement:
    """The verdict of the chat profile, checked against the schema on the way."""
    verdict = judge(evidence(replies, staircase(*steps), **changes), CHAT)
    check(verdict)
    return verdict


def check(verdict: Judgement) -> None:
    """What `to_json` gives is the contract, survives JSON, and its counts add up."""
    told = verdict.to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    jsonschema.Draft202012Validator(SCHEMA).validate(told)
    for level in verdict.levels:
        kinds = level.replies_served, level.replies_strained, level.replies_broken, level.replies_open
        assert sum(kinds) == level.replies == sum(level.outcomes.values())


def strained(users: int, start: float, seconds: float) -> list[ReplyRow]:
    """Everybody waits two seconds for a first word."""
    return [slow_start(u, t, 2.0) for t in np.arange(start + 5.1, start + seconds - 1, 3.0) for u in range(users)]


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_highest_level_that_holds_and_what_broke_above_it() -> None:
    rows = steady(2, 0, 30) + steady(4, 30, 30) + strained(8, 60, 30)
    verdict = judged(rows, (2, 30), (4, 30), (8, 30))
    assert (verdict.verdict, verdict.served_users, verdict.bracket, verdict.interval) == ("valid", 4, (4, 8), (4, 7))
    assert verdict.breaks_first == "first_word"
    assert verdict.levels[2].why == ("first_word",)
    assert verdict.sentence == (
        "4 people at once feel served; at 8 the wait for the first word broke first; between them was not measured."
    )


def test_one_user() -> None:
    verdict = judged(steady(1, 0, 30), (1, 30))
    assert (verdict.served_users, verdict.bracket, verdict.interval) == (1, (1, None), (1, None))
    assert verdict.sentence == "At least 1 person feels served: 1 was the highest level measured, and it held."


def test_an_empty_run() -> None:
    verdict = judged([])
    assert (verdict.verdict, verdict.served_users, verdict.interval, verdict.bracket) == (
        "unproven",
        None,
        None,
        (None, None),
    )
    assert verdict.levels == ()


def test_without_any_column() -> None:
    bare = Evidence({}, {}, {}, {}, (), {}, None, ())
    verdict = judge(bare, CHAT)
    check(verdict)
    assert verdict.verdict == "unproven"
