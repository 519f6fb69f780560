"""The user class for workloads: whoever it is, it asks, reads, thinks, and asks again, as its kind does."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, ClassVar, NoReturn

import gevent
from locust import task

from probe_ext.access.ask import Conversation
from probe_ext.access.file_prompts.file_questions import FileQuestions, LostFile
from probe_ext.access.kind_prompts import KindPrompts, KindUser
from probe_ext.prompts.files.source import PromptFileError
from probe_ext.settings.options import Options
from probe_ext.swarm.link import messages
from probe_ext.swarm.users.kind_dispatcher import DISPATCH, users_number
from probe_ext.swarm.users.llm import Llm
from probe_ext.swarm.users.process_state import ProcessState, process_state_of
from probe_ext.swarm.users.trace_replay import LostTrace, TraceReplay, open_replayed
from probe_ext.swarm.users.user import StreamingUser
from probe_ext.workload.arrival_times import TRACE
from probe_ext.workload.traces.trace_lines import TraceError
from probe_ext.workload.user_kind import UserKind
from probe_ext.workload.workload_file import Workload

logger = logging.getLogger(__name__)


class WorkloadUser(StreamingUser):
    """A user of a workload: `workload`, or without one, --workload.

    Before a run, one class is made for each kind. `self.person` has the conversations of this user; `kind` is the kind.
    A subclass may add `on_start`, or a `converse` of its own.
    """

    abstract = True
    workload: ClassVar[Mapping[str, Any] | str | None] = None
    """keys and values as in a workload file, or the name or path of one; None: --workload"""
    kind: ClassVar[UserKind | None] = None
    place: ClassVar[int] = 0
    """of the kind in its workload"""
    origin: ClassVar[Any] = None
    """the class of the locustfile, for the classes made from it"""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.kind is None:
            raise RuntimeError(f"{type(self).__name__}: no workload was installed before its users")
        self.scenario = self.kind.name
        super().__init__(*args, **kwargs)
        self._places = _places_of(process_state_of(self.environment), self.kind, self.place)
        self._place, self.person = self._places.take()

    def options_of(self, process: ProcessState) -> Options:
        """Return the run's options with the API of the kind."""
        assert self.kind is not None  # noqa: S101 -- checked at the beginning
        return replace(process.options, api=self.kind.api) if self.kind.api else process.options

    def wait_time(self) -> float:
        """Return the pause before this user's next request in seconds; Locust waits for it after each conversation."""
        return self.person.pause()

    def on_start(self) -> None:
        """Join in the middle of a pause, also when coming back: people don't all begin at once."""
        self.person.joins = self.person.enters = True
        gevent.sleep(self.wait_time())

    @task
    def converse(self) -> None:
        """One conversation, with pauses between the turns."""
        try:
            self._converse()
        except (PromptFileError, TraceError) as error:
            self._end_without_prompts(error)

    def _converse(self) -> None:
        self._hold(self._next_conversation(), self.llm)

    def _hold(self, conversation: Conversation, llm: Llm) -> None:
        for turn in count():
            ask = conversation.ask()
            if ask is None:
                return
            if turn:
                self._pause(conversation.pause())
            reply = llm.ask(ask.prompt, stream=ask.streamed, **ask.parameters)
            if not reply.ok and conversation.ends_at_failure:
                return
            conversation.answered(reply)
            self._hold_all(conversation.helpers())

    def _pause(self, seconds: float | None) -> None:
        if seconds is None:
            self.wait()
        else:
            gevent.sleep(seconds)

    def _hold_all(self, conversations: list[Conversation]) -> None:
        """Hold several conversations side by side, each on a connection of its own, until all have ended."""
        clients = [self.llm.sibling() for _ in conversations]
        helpers = [gevent.spawn(self._hold, one, llm) for one, llm in zip(conversations, clients, strict=True)]
        try:
            gevent.joinall(helpers)
        finally:
            gevent.killall(helpers)
            for client in clients:
                client.close()

    def _next_conversation(self) -> Conversation:
        """Return this user's next conversation; in an open stream, that of the next arrival."""
        replay = self._places.replay
        if not self.llm.in_open_stream:
            return self.person.begin() if replay is None else replay.next_session()
        arrival = self.llm.await_arrival()
        if replay is not None and arrival.replayed is not None:
            return replay.request(arrival.replayed)
        return self._places.maker.caller(arrival.in_run, arrival.in_kind).begin()

    def _end_without_prompts(self, error: PromptFileError | TraceError) -> NoReturn:
        """End the run: what would be sent from here on is not what was checked."""
        if arrival := self.llm.release_arrival():
            process_state_of(self.environment).arrivals.give_back(arrival)
        if process_state_of(self.environment).prompt_files.lose():
            logger.error("probe: %s; the run is ended", error)
        self._end_run(messages.PROMPTS_CHANGED)

    def on_stop(self) -> None:
        """Close the connection; another user may take this one's place."""
        self._places.give_back(self._place)
        super().on_stop()


@dataclass
class _Places:
    """The users of one kind on one worker: the lowest free place is taken first, and goes on where it was left."""

    maker: KindPrompts
    kind: int
    worker: int
    workers: int
    epoch: int
    replay: TraceReplay | LostTrace | None = None
    """of the workload's trace"""
    persons: list[KindUser] = field(default_factory=list)
    free: set[int] = field(default_factory=set)

    def take(self) -> tuple[int, KindUser]:
        """Return a place and its user."""
        if not self.free:
            number = users_number(len(self.persons), self.kind, self.worker, self.workers)
            self.persons.append(self.maker.user(number, self.epoch))
            self.free.add(len(self.persons) - 1)
        place = min(self.free)
        self.free.remove(place)
        return place, self.persons[place]

    def give_back(self, place: int) -> None:
        """Free a place."""
        self.free.add(place)


def _places_of(process: ProcessState, kind: UserKind, place: int) -> _Places:
    """Return this process's places of a kind, as the dispatcher has last shared users out."""
    dispatch = getattr(process.environment.parsed_options, DISPATCH, None) or {"workers": [], "epoch": 0}
    key = kind.name, dispatch["epoch"]
    if key not in process.places:
        prepared, workers = process.prepared_of(kind.name), dispatch["workers"]
        runner_id = getattr(process.environment.runner, "client_id", "")
        index = workers.index(runner_id) if runner_id in workers else 0
        number, context = max(1, len(workers)), prepared.get("context")
        slot = index + (number if dispatch["epoch"] else 0)  # a worker that has come later begins elsewhere
        file = _questions_of(process, kind, slot, number)
        texts = 0 if kind.host else place  # servers that are compared get the same texts
        maker = KindPrompts(kind, texts, prepared.get("prompts") or {}, process.options, context, file)
        process.places[key] = _Places(
            maker, place, index, number, dispatch["epoch"], _replay_of(process, kind, slot, number)
        )
    places: _Places = process.places[key]
    return places


def _replay_of(process: ProcessState, kind: UserKind, slot: int, slots: int) -> TraceReplay | LostTrace | None:
    """Return the replay of the workload's trace, which goes on when users are shared out anew; None without one."""
    prepared = process.prepared
    workload = Workload.of_message(prepared["workload"]) if prepared.get("workload") else None
    if workload is None or workload.trace is None:
        return None
    if TRACE not in process.places:
        try:
            process.places[TRACE] = TraceReplay(kind, open_replayed(workload.trace, prepared), prepared, slot, slots)
        except TraceError as error:
            return LostTrace(error)
    replay: TraceReplay = process.places[TRACE]
    return replay


def _questions_of(process: ProcessState, kind: UserKind, slot: int, slots: int) -> FileQuestions | LostFile | None:
    """Return where a kind's prompts come from; None if they are synthetic."""
    prepared = process.prepared_of(kind.name)
    seed = (prepared.get("prompts") or {}).get("seed", 0)
    try:
        queue = process.prompt_files.queue(prepared.get("prompt_files") or (), kind.name, seed, slot, slots)
    except PromptFileError as error:
        return LostFile(error)
    if queue is None:
        return None
    _, entry = queue
    lanes = [
        one["kind"]
        for one in prepared["prompt_files"]
        if (one["path"], one["field"]) == (entry["path"], entry["field"])
        and (not kind.host or one["kind"] == kind.name)
    ]
    return FileQuestions(*queue, prepared.get("context"), lane=lanes.index(kind.name), lanes=len(lanes))
