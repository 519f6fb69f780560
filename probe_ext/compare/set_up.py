"""A set-up: one or more runs of one server, configured and loaded in one way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.compare.replies import RunReplies
from probe_ext.settings.slo import SloProfile


@dataclass(frozen=True)
class Run:
    """One run, judged; without `manifest` and `replies` where only its `capacity.json` is left."""

    path: str
    capacity: Mapping[str, Any]
    manifest: Mapping[str, Any] | None = None
    profile: SloProfile | None = None
    replies: RunReplies | None = None
    price_per_hour: float | None = None


@dataclass(frozen=True)
class SetUp:
    """One or more runs of it."""

    name: str
    runs: Sequence[Run]

    @property
    def verdict(self) -> str:
        """Return the worst of its runs."""
        found = {str(run.capacity["verdict"]) for run in self.runs}
        return next(verdict for verdict in ("invalid", "unproven", "valid") if verdict in found)

    @property
    def replies(self) -> Sequence[RunReplies]:
        """Return the replies of all runs; empty where one of them has only its `capacity.json`."""
        found = [run.replies for run in self.runs if run.replies is not None]
        return found if len(found) == len(self.runs) else ()
