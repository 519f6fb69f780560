"""One reply while it goes on, and the rows that it becomes."""

from dataclasses import dataclass, field

from probe_ext.measure.table_rows import MIN_RECORDED_GAP_S, GapRow, ReplyRow

WORKER = "virtual"


@dataclass(slots=True)
class Notes:
    """What a client would have seen of a reply so far. Seconds of the run, tokens."""

    number: int
    user: str
    sent: float
    prompt: int
    first: float | None = None
    last: float | None = None
    tokens: int = 0
    cached: int = 0
    longest: float | None = None
    longest_from: float | None = None
    gaps: list[GapRow] = field(default_factory=list)

    @property
    def reply_id(self) -> str:
        """As in `requests.csv`."""
        return f"{WORKER}:{self.number}"

    def token(self, at: float) -> None:
        """One token came."""
        if self.last is None:
            self.first = at
        else:
            gap = at - self.last
            if self.longest is None or gap > self.longest:
                self.longest, self.longest_from = gap, self.last
            if gap >= MIN_RECORDED_GAP_S:
                self.gaps.append(GapRow(self.reply_id, self.last, at, self.tokens))
        self.last = at
        self.tokens += 1

    def row(self, end: float, finish: str | None) -> ReplyRow:
        """The line of `requests.csv`; without a finish reason, we ended it."""
        spread = None if self.first is None or self.last is None or self.tokens < 2 else self.last - self.first
        tpot = None if spread is None else spread / (self.tokens - 1)
        return ReplyRow(
            reply_id=self.reply_id, worker=WORKER, user=self.user, scenario="capacity", kind="chat", streamed=True,
            due=self.sent, late=0.0, sent=self.sent, headers=self.first, first=self.first, first_visible=self.first,
            last=self.last, end=end,
            tokens_in=self.prompt if self.first is not None else None,
            tokens_cached=self.cached if finish else None,
            tokens_out=self.tokens or None, tokens_from="usage" if self.tokens else None,
            tokens_first=1 if self.tokens else None, tokens_visible=self.tokens or None,
            events=self.tokens, events_visible=self.tokens, choices=1, tpot=tpot, tpot_visible=tpot,
            longest_gap=self.longest, gap_start=self.longest_from, longest_gap_visible=self.longest,
            outcome="complete" if finish else "ended_by_us", finish_reason=finish,
            status=None if self.first is None else 200, message=None, connect=0.0, tls=None, lag_max=0.0,
            reads=self.tokens + 1, reads_unresolved=0,
        )  # fmt: skip
