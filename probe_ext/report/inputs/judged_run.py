"""Read a run directory and judge it; what is not given comes from the run's own options."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from probe_ext.measure.rate import Rate, as_json
from probe_ext.report.inputs import frames
from probe_ext.report.inputs.compared_runs import run_profile
from probe_ext.run import manifest
from probe_ext.settings.slo import Reasoning, SloProfile
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import mapping, number
from probe_ext.verdict.grading.kind_profiles import kind_profiles
from probe_ext.verdict.judge import NOTHING_GIVEN, judge
from probe_ext.verdict.results.team_size import Given
from probe_ext.verdict.values.judgement import Judgement

REPORT_OPTIONS = ("team_think_time", "price_per_hour", "window")
"""Options of the run that only the report uses, in the order of `Given`."""


@dataclass(frozen=True)
class JudgedRun:
    """A run and what was found about it."""

    evidence: Evidence
    profile: SloProfile
    one_profile: bool
    """whether the profile replaces those of the kinds of user, too"""
    given: Given
    options: Mapping[str, Any]
    """of the run itself"""
    judgement: Judgement


def judged_run(
    run: Path,
    *,
    slo: str | None = None,
    reasoning: Reasoning | None = None,
    required: int | None = None,
    given: Given = NOTHING_GIVEN,
) -> JudgedRun:
    """Judge a run, by the profile `slo` and for the gate `required` instead of its own if they are given.

    ManifestError if there is no readable run, SettingsError for an unusable profile.
    """
    content = manifest.read(run)
    options = mapping(content.get("options"))
    one_profile = slo is not None
    profile = kind_profiles(content.get("workload"), run_profile(content, slo), one_profile=one_profile).default
    evidence = frames.load(run)
    asked: dict[str, Any] = {} if slo is None else {"slo": slo}
    if required is not None:
        rate = isinstance(required, Rate)
        asked["fail_under_rate" if rate else "fail_under_users"] = as_json(required) if rate else required
    if asked:  # so that the next command asks for what this report is about
        evidence = replace(evidence, manifest={**evidence.manifest, "options": {**options, **asked}})
    given = _completed(given, options)
    judgement = judge(evidence, profile, reasoning=reasoning, given=given, one_profile=one_profile)
    return JudgedRun(evidence, profile, one_profile, given, options, judgement)


def _completed(given: Given, options: Mapping[str, Any]) -> Given:
    """Complete what is given from the run's own options."""
    own = [number(options, name) for name in REPORT_OPTIONS]
    return Given(*(one if one is not None else of_run for one, of_run in zip(astuple(given), own, strict=True)))
