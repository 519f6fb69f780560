"""People around the engine, on virtual time: how many there are may change at any moment, as in a real run."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable

from probe_ext.measure.fluidity import Deadlines
from probe_ext.measure.table_rows import GapRow, ReplyRow
from probe_ext.measure.unfinished import Counts, Progress, UnfinishedReplies
from probe_ext.sim.engine.step_types import Finished
from probe_ext.sim.profile import Profile
from scripts.study.virtual.fast_engine import FastEngine
from scripts.study.virtual.people import Draws, People, Question
from scripts.study.virtual.reply_notes import Notes
from scripts.study.virtual.server_book import ServerBook

CHAT = Deadlines(first=1.0, each=0.1)
"""of the profile `chat`"""
_FROM_MEMORY = 0.002
"""seconds until a response cache answers; it writes a whole stream at once"""


class Swarm:
    """Users who ask, read, think and ask again. Drive it with `join`, `leave` and `run_until`."""

    def __init__(self, profile: Profile, people: People, seed: int, on_reply: Callable[[ReplyRow], None]) -> None:
        self.engine = FastEngine(profile, people.shared)
        self.server = ServerBook(self.engine)
        self.gaps: list[GapRow] = []
        self.tokens: Counter[int] = Counter()
        """tokens by the second in which they came"""
        self.started = 0
        self.ending = False
        """nobody asks anew"""
        self._people, self._draws = people, Draws(people, seed)
        self._on_reply = on_reply
        self._asks: list[tuple[float, int]] = []
        self._users: dict[int, Notes | None] = {}
        self._flying: dict[int, tuple[int, Notes]] = {}
        self._numbers = itertools.count(1)
        self._names = itertools.count()
        self._unfinished = UnfinishedReplies(CHAT)

    @property
    def users(self) -> int:
        """How many there are."""
        return len(self._users)

    @property
    def in_flight(self) -> int:
        """Replies that go on."""
        return len(self._flying)

    def unfinished(self, now: float) -> Counts:
        """How the replies in flight do so far."""
        replies = {number: self._progress(notes, now) for number, (_, notes) in self._flying.items()}
        return self._unfinished.count(replies)

    def _progress(self, notes: Notes, now: float) -> Progress:
        so_far = Notes(notes.number, notes.user, notes.sent, notes.prompt)
        self.engine.note_tokens(so_far)
        return Progress(notes.sent, now, so_far.first, so_far.tokens)

    def join(self, now: float) -> None:
        """One user more, who asks at once."""
        user = next(self._names)
        self._users[user] = None
        heapq.heappush(self._asks, (now, user))

    def leave(self, now: float) -> None:
        """One user less, the newest; a reply in flight is ended by us."""
        user = next(reversed(self._users))
        notes = self._users.pop(user)
        if notes is not None:
            self._cut(notes, now)

    def cut_all(self, now: float) -> None:
        """End what is still in flight."""
        for user, notes in list(self._flying.values()):
            self._users[user] = None
            self._cut(notes, now)

    def run_until(self, moment: float) -> None:
        """Let time pass. A step that has begun is finished, so the engine may be ahead by one."""
        while True:
            start = self.engine.next_start()
            ask = self._next_ask()
            if ask is not None and ask <= moment and (start is None or ask <= start):
                self._ask(*heapq.heappop(self._asks))
            elif start is not None and start < moment:
                self.engine.step_quietly(moment if ask is None else min(moment, ask), self._note_quiet_step)
                if self.engine.now < moment and (ask is None or self.engine.now < ask):
                    self._step()
            else:
                return

    def _next_ask(self) -> float | None:
        while self._asks and (self.ending or self._asks[0][1] not in self._users):
            heapq.heappop(self._asks)
        return self._asks[0][0] if self._asks else None

    def _ask(self, now: float, user: int) -> None:
        question, number = self._draws.question(), next(self._numbers)
        self.started += 1
        notes = Notes(number, f"virtual:{user}", now, self._people.shared + question.own)
        if question.from_cache:
            self._answer_from_memory(notes, question, user)
            return
        self._users[user] = notes
        self._flying[number] = (user, notes)
        self.engine.add(number, now, notes.prompt, question.reply)

    def _answer_from_memory(self, notes: Notes, question: Question, user: int) -> None:
        for token in range(question.reply):
            at = notes.sent + _FROM_MEMORY + 1e-6 * token
            notes.token(at)
            self.tokens[int(at)] += 1
        end = notes.last or notes.sent
        self._on_reply(notes.row(end, "stop"))
        heapq.heappush(self._asks, (end + self._draws.think(), user))

    def _step(self) -> None:
        step = self.engine.step()
        if step is None:
            return
        self.server.observe(step)
        self.tokens[int(step.end)] += step.tally.reply_tokens
        for done in step.finished:
            self._finish(done, step.end)

    def _note_quiet_step(self, before: float, end: float, tokens: int) -> None:
        self.server.observe_quiet(before, end, tokens)
        self.tokens[int(end)] += tokens

    def _finish(self, done: Finished, end: float) -> None:
        user, notes = self._flying.pop(done.request_id)
        self.engine.note_tokens(notes)
        notes.cached = done.cached_tokens
        self.gaps += notes.gaps
        self._on_reply(notes.row(end, done.finish_reason))
        self._users[user] = None
        heapq.heappush(self._asks, (end + self._draws.think(), user))

    def _cut(self, notes: Notes, now: float) -> None:
        del self._flying[notes.number]
        self.engine.note_tokens(notes)
        self.engine.abort(notes.number)
        self.gaps += notes.gaps
        self._on_reply(notes.row(max(now, notes.last or now), None))
