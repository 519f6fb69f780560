"""The trace that the users of one process replay: at its recorded times, or each taking the next session."""

from collections.abc import Mapping
from typing import Any, NoReturn

import gevent

from probe_ext.access.ask import Answer, Ask, Conversation
from probe_ext.access.trace_prompts import TracePrompts
from probe_ext.workload.trace_load import TraceLoad, passes_of
from probe_ext.workload.traces.replay_times import Pass, Replayed
from probe_ext.workload.traces.trace import Trace
from probe_ext.workload.traces.trace_lines import TraceError
from probe_ext.workload.user_kind import UserKind
from probe_ext.workload.workload_file import Workload


def open_replayed(load: TraceLoad, prepared: Mapping[str, Any]) -> Trace:
    """Return the trace of a run. TraceError if it is not the one that the master prepared."""
    opened: Trace | TraceError = gevent.get_hub().threadpool.apply(_open, (load, prepared.get("context")))
    if isinstance(opened, TraceError):
        raise opened
    if any(entry["sha256"] != opened.digest for entry in prepared.get("prompt_files") or ()):
        raise TraceError(f"{load.file}: has changed since the run was prepared")
    return opened


def _open(load: TraceLoad, context: int | None) -> Trace | TraceError:
    """Read a trace in a thread, as a large one takes seconds; gevent prints what is raised there."""
    try:
        return load.open(context)
    except TraceError as error:
        return error


def passes(prepared: Mapping[str, Any]) -> tuple[Pass, ...]:
    """Return the replays of the run's trace; none without one. TraceError as of `open_replayed`."""
    workload = Workload.of_message(prepared["workload"]) if prepared.get("workload") else None
    if workload is None or workload.trace is None:
        return ()
    return passes_of(workload.trace, open_replayed(workload.trace, prepared))


class TraceReplay:
    """The sessions of a trace for the users of one process, one of `slots`: it takes every `slots`-th session."""

    def __init__(self, kind: UserKind, trace: Trace, prepared: Mapping[str, Any], slot: int, slots: int) -> None:
        self.trace = trace
        self.prompts = TracePrompts(kind, trace, prepared.get("prompts") or {})
        self._next, self._slots = slot, slots

    def next_session(self) -> "ReplayedTurns":
        """Return the session that a user takes next; after the last one, the first begins again with other texts."""
        replay, session = divmod(self._next, len(self.trace.sessions))
        self._next += self._slots
        return ReplayedTurns(self.prompts, replay, self.trace.sessions[session])

    def request(self, replayed: Replayed) -> "ReplayedTurns":
        """Return the single request that an arrival stands for."""
        return ReplayedTurns(self.prompts, replayed.replay, (replayed.place,))


class LostTrace:
    """A trace that could not be used any more when the run began."""

    def __init__(self, error: TraceError) -> None:
        self._error = error

    def next_session(self) -> NoReturn:
        """Raise the TraceError."""
        raise self._error

    def request(self, replayed: Replayed) -> NoReturn:
        """Raise the TraceError."""
        raise self._error


class ReplayedTurns:
    """Recorded requests, one after another. What was asked does not depend on how the last one ended."""

    ends_at_failure = False

    def __init__(self, prompts: TracePrompts, replay: int, places: tuple[int, ...]) -> None:
        self._prompts, self._replay, self._places = prompts, replay, iter(places)

    def ask(self) -> Ask | None:
        """Return the next request; None after the last one."""
        place = next(self._places, None)
        return None if place is None else self._prompts.ask(place, self._replay)

    def answered(self, reply: Answer) -> None:
        """Take a reply, of which nothing is sent again."""

    def pause(self) -> None:
        """Return None: the user's think time."""

    def helpers(self) -> list[Conversation]:
        """Return none."""
        return []
