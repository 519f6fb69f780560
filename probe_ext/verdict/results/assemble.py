"""Put together all that is said of each level."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from probe_ext.settings.slo import SloProfile, Users
from probe_ext.verdict.grading.reply_grades import BROKEN, SERVED, STRAINED, UNJUDGED, Judged
from probe_ext.verdict.grading.user_grades import UNDECIDED, classify
from probe_ext.verdict.inference import bootstrap
from probe_ext.verdict.levels.bracket import fitted, states_of
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.levels.level_judgement import Answers, Scene, Standing, blame, rows_by_level
from probe_ext.verdict.levels.level_state import STATE_NAMES, UNPROVEN, served_share
from probe_ext.verdict.results.slo_metrics import reply_figures, token_windows
from probe_ext.verdict.server.preemptions import Charges, charge
from probe_ext.verdict.server.server_series import Metrics, server_figures
from probe_ext.verdict.values.columns import Ints, coded, texts
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.level_result import LevelResult, ServerFigures


@dataclass(frozen=True)
class Judging:
    """A run, judged in one way."""

    scene: Scene
    judged: Judged
    answers: Answers
    replicates: bootstrap.Replicates
    profile: SloProfile


def level_results(evidence: Evidence, judging: Judging, metrics: Metrics) -> tuple[LevelResult, ...]:
    """One result a level, in order of time."""
    scene, judged = judging.scene, judging.judged
    tokens = token_windows(evidence.windows)
    outcome, outcomes = coded(texts(evidence.replies, "outcome"))
    shares, charges = _shares(judging), charge(metrics)
    results = []
    for i, (level, rows) in enumerate(zip(scene.levels, rows_by_level(scene), strict=True)):
        ended = np.bincount(outcome[rows], minlength=len(outcomes))
        said: dict[str, Any] = {
            **asdict(level),
            **{name: values[i] for name, values in shares.items()},
            **_state(judging, i),
            **_people(judging.answers.overall, i),
            **_replies(judging, rows),
        }
        results.append(
            LevelResult(
                **said,
                outcomes={name: int(n) for name, n in zip(outcomes, ended, strict=True) if n},
                figures=reply_figures(
                    evidence.replies, rows, level, judged, tokens, killed=not evidence.manifest.get("end_reason")
                ),
                server=_server(metrics, level, charges),
            )
        )
    return tuple(results)


def _server(metrics: Metrics, level: Level, charges: Charges) -> ServerFigures:
    """A level's figures, preemptions charged to where the queue grew; None stays where the counter was not read."""
    found = server_figures(metrics, level)
    if found.preemptions is None:
        return found
    charged, unsure = charges.within(level)
    return replace(found, preemptions=charged, preemptions_unsure=unsure)


def _state(judging: Judging, i: int) -> dict[str, Any]:
    standing, level = judging.answers.overall, judging.scene.levels[i]
    appears = STATE_NAMES[standing.states[i]]
    unproven = level.band or standing.states[i] == UNPROVEN
    return {
        "state": "unproven" if unproven else appears,
        "appears": appears,
        "why": tuple(blame(judging.answers, i, judging.profile.level.served_share)),
        "replies_needed": _needed(standing, judging, i) if standing.states[i] == UNPROVEN else None,
    }


def _needed(standing: Standing, judging: Judging, i: int) -> int:
    """Replies that would settle the level: each user's few made enough, each undecided user's made decided."""
    rules: Users = judging.profile.users
    judged = standing.counts.judged[i]
    wanted = np.where(classify(standing.counts, rules)[i] == UNDECIDED, rules.decided_from, judging.scene.min_replies)
    heard = judged > 0
    unheard = int(standing.heard.present[i]) - int(heard.sum())
    return int(np.clip(wanted - judged, 0, None)[heard].sum()) + unheard * judging.scene.min_replies


def _shares(judging: Judging) -> dict[str, list[float | None]]:
    """The served share of each level with its range, and by the monotone fit."""
    standing, scene = judging.answers.overall, judging.scene
    steps = standing.steps
    states = states_of(steps, judging.profile.level.served_share)
    fit = dict(zip(steps.users.tolist(), fitted(states, served_share(steps.people), steps.people.heard), strict=True))
    low, high = bootstrap.share_range(judging.replicates.felt)
    return {
        "served_share": _known(served_share(standing.people)),
        "served_share_low": _known(low),
        "served_share_high": _known(high),
        "served_share_fit": _known(np.array([np.nan if lv.band else fit[lv.users] for lv in scene.levels])),
    }


def _known(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _people(standing: Standing, i: int) -> dict[str, int]:
    people = standing.people
    return {
        "users_served": int(people.served[i]),
        "users_strained": int(people.strained[i]),
        "users_broken": int(people.broken[i]),
        "users_undecided": int(people.undecided[i]),
        "users_unheard": int(standing.heard.present[i] - people.heard[i]),
    }


def _replies(judging: Judging, rows: Ints) -> dict[str, int]:
    grades = judging.judged.overall[rows]
    return {
        "replies": len(grades),
        "replies_served": int((grades == SERVED).sum()),
        "replies_strained": int((grades == STRAINED).sum()),
        "replies_broken": int((grades == BROKEN).sum()),
        "replies_open": int((grades == UNJUDGED).sum()),
    }
