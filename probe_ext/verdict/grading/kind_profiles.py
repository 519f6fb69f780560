"""Which profile judges which reply: that of its kind of user, or the run's.

A workload states its kinds of user, each with a profile of its own. Replies carry the kind's name as `scenario`.
Without a workload, the names that a locustfile gives its requests are shown apart, and the run's profile judges all.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from probe_ext.measure.table_rows import WARM_UP
from probe_ext.settings.slo import Reasoning, SloProfile, profile_of_run
from probe_ext.verdict.evidence.columns import Floats, Ints, as_text_column, text_column
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.evidence.manifest_view import mapping, mappings, number
from probe_ext.verdict.evidence.text_columns import TextColumn
from probe_ext.verdict.grading.reply_grades import GradedReplies, asked_at, judge_replies, pick_grades

OTHERS = "other requests"
"""The kind of replies that carry the name of no stated kind, as those of another user class of the locustfile."""
MAX_NAMES = 12
"""Request names of a locustfile that are shown apart: those with the most replies."""


@dataclass(frozen=True)
class Kind:
    """One kind of user of a workload, or one request name of a locustfile."""

    name: str
    profile: SloProfile
    share: float | None = None
    """of the users, as stated"""
    users: int | None = None
    """fixed number of users, as stated"""
    think_time: float | None = None
    """stated mean, seconds"""


@dataclass(frozen=True)
class KindProfiles:
    """How the replies of a run are judged."""

    default: SloProfile
    """of replies of no stated kind"""
    kinds: tuple[Kind, ...] = ()
    """as the workload states them, and OTHERS"""

    @property
    def stated(self) -> tuple[Kind, ...]:
        """The kinds that the workload states."""
        return tuple(kind for kind in self.kinds if kind.name != OTHERS)

    @property
    def used(self) -> list[SloProfile]:
        """The profiles that judge replies."""
        return [kind.profile for kind in self.stated] or [self.default]

    def grade(
        self,
        columns: Columns,
        scenarios: TextColumn | Sequence[str],
        mode: Reasoning | None,
        longest: float | None = None,
    ) -> GradedReplies:
        """Grade every reply by its kind's profile.

        `mode`: None for each profile's own; `longest`: see `judge_replies`.
        """
        if not self.kinds:
            return judge_replies(columns, self.default, mode or self.default.reasoning, longest)
        codes = kind_codes(scenarios, self.kinds)
        profiles = [self.default, *(kind.profile for kind in self.kinds)]
        graded = {
            code: judge_replies(columns, profile, mode or profile.reasoning, longest)
            for code, profile in enumerate(profiles, -1)
            if code < 0 or bool((codes == code).any())
        }
        for code, one in graded.items():
            graded[-1] = pick_grades(codes == code, one, graded[-1]) if code >= 0 else one
        return graded[-1]

    def asked_at(self, columns: Columns) -> Floats:
        """Return when each user's wait begins, seconds of the run."""
        asked = asked_at(columns, self.default)
        codes = kind_codes(text_column(columns, "scenario"), self.kinds)
        for code, kind in enumerate(self.kinds):
            asked = np.where(codes == code, asked_at(columns, kind.profile), asked)
        return asked

    @property
    def mixes_reasoning(self) -> bool:
        """Whether some kinds judge all text, and others only what lies outside reasoning."""
        return len({kind.profile.reasoning for kind in self.kinds}) > 1


def kind_codes(scenarios: TextColumn | Sequence[str], kinds: Sequence[Kind]) -> Ints:
    """Return the index of each reply's kind; without a kind OTHERS, −1 for replies of none of them."""
    index = {kind.name: code for code, kind in enumerate(kinds)}
    others = index.get(OTHERS, -1)
    column = as_text_column(scenarios)
    codes: Ints = np.array([index.get(name, others) for name in column.names], dtype=np.int64)[column.codes]
    return codes


def kind_profiles(workload: Any, profile: SloProfile, *, one_profile: bool = False) -> KindProfiles:
    """Return how the kinds of a workload are judged, as `run.json` has it. `one_profile`: all of them by `profile`.

    A workload of a single kind is judged like any run, by the profile of that kind.
    """
    stated = [entry for entry in mappings(mapping(workload).get("kinds")) if isinstance(entry.get("name"), str)]
    kinds = {entry["name"]: _kind(entry, profile, one_profile=one_profile) for entry in stated if entry["name"]}
    if len(kinds) == 1:
        return KindProfiles(next(iter(kinds.values())).profile)
    return KindProfiles(profile, (*kinds.values(), Kind(OTHERS, profile)) if kinds else ())


def _kind(entry: Mapping[str, Any], profile: SloProfile, *, one_profile: bool) -> Kind:
    """Return a kind; the run's profile judges it where its own is missing or damaged."""
    own = entry.get("slo")
    if isinstance(own, Mapping) and not one_profile:
        try:
            profile = profile_of_run(own)
        except ValueError:
            own = None
    share, users = number(entry, "share"), number(entry, "users")
    return Kind(
        entry["name"],
        profile,
        share if share is not None and 0 <= share <= 1 else None,
        int(users) if users is not None and users >= 0 else None,
        number(mapping(entry.get("think_time")), "mean"),
    )


def request_names(counts: Counter[str]) -> list[str]:
    """Return the names under which replies were recorded, the most frequent first; at most MAX_NAMES.

    `counts`: the number of replies under each name.
    """
    counts = Counter({name: count for name, count in counts.items() if name and name != WARM_UP})
    return [name for name, _ in counts.most_common(MAX_NAMES)]
