"""All gates that a report was asked for, and how they went together."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe_ext.compare.gate_tests import GateOutcome, GateTest, baseline_tests, limit_tests
from probe_ext.compare.replies import assigned_replies, run_replies
from probe_ext.compare.set_up import Run
from probe_ext.report.inputs.compared_runs import load_run
from probe_ext.report.outputs.gate import Gate
from probe_ext.run.manifest import ManifestError
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.gate_limits import GateLimit, gate_limits
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence.evidence import Evidence

DEFAULT_MARGIN = 0.10
STEP_SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True)
class AskedGates:
    """Gates besides the number of users; None where not asked for."""

    fail_over: str | None = None
    """as `--fail-over` takes it"""
    baseline: str | None = None
    """path"""
    margin: float | None = None

    def completed(self, options: Mapping[str, Any]) -> "AskedGates":
        """Return what is asked for, by the command line, else by the run itself."""
        own = AskedGates(
            _text(options.get("fail_over")),
            _text(options.get("baseline")),
            value if isinstance(value := options.get("margin"), float) else None,
        )
        return AskedGates(
            self.fail_over or own.fail_over,
            self.baseline or own.baseline,
            self.margin if self.margin is not None else own.margin,
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


NOTHING_ASKED = AskedGates()


def gate_tests(
    asked: AskedGates,
    capacity: Mapping[str, Any],
    evidence: Evidence,
    judged_by: tuple[SloProfile, bool],
    users: int | None,
) -> tuple[GateTest, ...]:
    """Apply the gates. `judged_by`: the profile, and whether it replaces those of kinds of user.

    SettingsError if the baseline can't be read, limits are wrong, or the run held rates instead of numbers of users.
    """
    for flag, given in (("--fail-over", asked.fail_over), ("--baseline", asked.baseline)):
        if given and capacity["load"] == "rate":
            raise SettingsError(
                f"{flag} {given}: the run held rates instead of numbers of users; use --fail-under-rate"
            )
    tests: list[GateTest] = []
    profile, one_profile = judged_by
    if asked.fail_over:
        tests += limit_tests(
            assigned_replies(evidence, profile, one_profile=one_profile), _limits(asked.fail_over), users
        )
    if asked.baseline:
        baseline = _baseline(asked.baseline, judged_by)
        replies = run_replies(evidence, profile, one_profile=one_profile)
        run = Run("run", capacity, evidence.manifest, profile, replies)
        margin = DEFAULT_MARGIN if asked.margin is None else asked.margin
        tests += baseline_tests(run, baseline, margin)
    if capacity["verdict"] == "invalid":
        why = "unproven, the run is invalid"
        return tuple(GateTest(test.name, "unproven", f"gate: {test.name}: {why}", test.seconds) for test in tests)
    return tuple(tests)


def _limits(text: str) -> tuple[GateLimit, ...]:
    try:
        return gate_limits(text)
    except ValueError as error:  # of a run.json that was edited
        raise SettingsError(f"--fail-over {error}") from error


def _baseline(path: str, judged_by: tuple[SloProfile, bool]) -> Run:
    try:
        return load_run(Path(path), judged_by=judged_by)
    except (ManifestError, SettingsError) as error:
        raise SettingsError(f"--baseline {error}") from error


def outcome_of(gate: Gate | None, tests: Sequence[GateTest]) -> GateOutcome | None:
    """Return how all gates went together: the worst of them; None without any."""
    outcomes = {test.outcome for test in tests} | ({gate.outcome} if gate else set())
    worst: tuple[GateOutcome, ...] = ("failed", "unproven", "passed")
    return next((outcome for outcome in worst if outcome in outcomes), None)


def append_to_step_summary(summary: Path) -> str | None:
    """Append a summary to the page of a GitHub job, if this is one. Returns why that failed, in one line, or None."""
    target = os.environ.get(STEP_SUMMARY_VARIABLE)
    if not target:
        return None
    try:
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(summary.read_text(encoding="utf-8") + "\n")
    except OSError as error:
        return f"{STEP_SUMMARY_VARIABLE} {target}: {error.strerror or error}"
    return None
