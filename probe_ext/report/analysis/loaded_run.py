"""`load_run`: a run directory as pandas frames, with its verdict and the pictures of its page.

docs/notebooks.md describes the frames; the columns of recorded tables are those of docs/run-directory.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from probe_ext.compare.replies import assigned_replies
from probe_ext.measure.table_rows import GapRow, GpuRow, ReplyRow, ServerRow, UserRow
from probe_ext.report.analysis import typed_frames
from probe_ext.report.analysis.figure import LEVELS, Figure, figure, figures_of
from probe_ext.report.inputs.judged_run import JudgedRun, judged_run
from probe_ext.report.sections.page import Page, page
from probe_ext.verdict.evidence.columns import numbers
from probe_ext.verdict.grading.reply_grades import UNJUDGED

_GRADES = ["served", "strained", "broken"]


@dataclass(frozen=True)
class LoadedRun:
    """A run in Python.

    Every frame has one type per column, in which missing values are missing, and the units of its columns in
    `attrs["units"]`. Frames are built on first use and kept; change a copy. Times are seconds of the run, that is since
    `manifest["started_at"]`.
    """

    path: Path
    """the run directory"""
    _run: JudgedRun = field(repr=False)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """How the run was done: `run.json`."""
        return self._run.evidence.manifest

    @property
    def damage(self) -> tuple[str, ...]:
        """What could not be read of the run's files, one line each; empty for a sound run."""
        return tuple(self._run.evidence.damage)

    @cached_property
    def capacity(self) -> Mapping[str, Any]:
        """The verdict: what `probe report` would write as `capacity.json` now."""
        return self._run.judgement.to_json()

    @property
    def sentence(self) -> str:
        """The answer in words."""
        return self._run.judgement.sentence

    @cached_property
    def levels(self) -> pd.DataFrame:
        """One row per level, in order of time: its state, shares and figures, as in `capacity.json`."""
        return typed_frames.levels(self.capacity["levels"])

    @cached_property
    def replies(self) -> pd.DataFrame:
        """One row per reply: `requests.csv`, and what the verdict found about it.

        `level` is the row of `levels` in which it was sent, `users` the number of users there; both are missing outside
        all levels, and `users` in an open stream. `grade` is `served`, `strained` or `broken`, missing where the reply
        was not judged. `ttft` and `first_word` (the wait as the SLO profile counts it) are seconds, `decode_rate` is in
        tokens per second.
        """
        evidence = self._run.evidence
        assigned = assigned_replies(evidence, self._run.profile, one_profile=self._run.one_profile)
        level_of = assigned.assignment.level_of
        grades = np.where(assigned.left_out, UNJUDGED, assigned.graded.overall).astype(np.int8)
        frame = typed_frames.recorded("replies", evidence.replies, ReplyRow)
        frame["level"] = typed_frames.counts(np.where(level_of < 0, np.nan, level_of))
        frame["users"] = self.levels["users"].reindex(level_of).reset_index(drop=True)  # -1 is no row of it
        frame["grade"] = pd.Categorical.from_codes(grades, dtype=pd.CategoricalDtype(_GRADES, ordered=True))
        frame["ttft"] = numbers(evidence.replies, "first") - numbers(evidence.replies, "sent")
        frame["first_word"] = assigned.graded.experience.waited
        frame["decode_rate"] = assigned.graded.experience.rate
        return typed_frames.with_units("replies", frame)

    @cached_property
    def gaps(self) -> pd.DataFrame:
        """One row per gap of at least 0.25 s within a reply: `gaps.csv`."""
        return typed_frames.recorded("gaps", self._run.evidence.gaps, GapRow)

    @cached_property
    def users(self) -> pd.DataFrame:
        """The number of users over time: `users.csv`."""
        return typed_frames.recorded("users", self._run.evidence.users, UserRow)

    @cached_property
    def server(self) -> pd.DataFrame:
        """One row per value that the server reported: `server.csv`, or what was read from a Prometheus instead."""
        return typed_frames.recorded("server", self._run.evidence.server, ServerRow)

    @cached_property
    def gpu(self) -> pd.DataFrame:
        """One row per value that a GPU exporter reported: `gpu.csv`; empty without one."""
        return typed_frames.recorded("gpu", self._run.evidence.gpu, GpuRow)

    @cached_property
    def pauses(self) -> pd.DataFrame:
        """One row per silent pause, and what the server did meanwhile: `pauses.csv`."""
        return typed_frames.pauses(self._run.evidence, self._run.profile)

    @cached_property
    def tokens(self) -> pd.DataFrame:
        """Tokens of all users together: `t` (start of the window), `seconds` (its length), `tokens`."""
        return typed_frames.tokens(self._run.evidence)

    @property
    def plots(self) -> list[str]:
        """The names that `plot` accepts: `levels`, `timeline`, and each lane of the timeline by itself."""
        return figures_of(self._page)

    def plot(self, name: str = LEVELS) -> Figure:
        """Draw a picture of the report page; a notebook shows it, and `save(FILE)` writes it as HTML.

        KeyError if this run has no picture of that name; it lists those that there are.
        """
        return figure(self._page, name)

    @cached_property
    def _page(self) -> Page:
        run = self._run
        return page(run.judgement.to_view(), run.evidence, run.profile, run.given)


def load_run(run: str | Path, *, slo: str | None = None) -> LoadedRun:
    """Load a run directory, and judge it by its own SLO profile, or by `slo` (a name or a file).

    Reads files only, and writes none. ManifestError if there is no readable run, SettingsError for an unusable
    profile; damaged tables are read as far as possible, and listed in `damage`.
    """
    path = Path(run)
    return LoadedRun(path, judged_run(path, slo=slo))
