"""The view model of a run, as `probe report` builds it."""

from pathlib import Path

from probe_ext.bundled import folder
from probe_ext.report.inputs import frames
from probe_ext.report.sections import page
from probe_ext.report.sections.page import Page
from probe_ext.settings.slo import load_profile
from probe_ext.verdict.judge import judge


def viewed(run: Path, slo: str = "chat") -> Page:
    """Return the view model of a run."""
    profile = load_profile(slo, folder("configs") / "slo")
    evidence = frames.load(run)
    return page.page(judge(evidence, profile).to_json(), evidence, profile)
