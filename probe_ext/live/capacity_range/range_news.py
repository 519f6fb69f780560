"""What a search says on the terminal besides its progress line: the first range of the capacity, and better ones."""

from probe_ext.live.capacity_range.known_range import KnownRange, known_range, levels_seen
from probe_ext.live.capacity_range.range_memory import Widening
from probe_ext.load.boundary_search import MIN_TARGET_USERS, EarlyRange
from probe_ext.verdict.phrasing import plurals
from probe_ext.verdict.phrasing.formats import span
from probe_ext.verdict.phrasing.plurals import Who
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate
from probe_ext.verdict.values.json_types import Load
from probe_ext.verdict.wording.capacity_phrase import proven_phrase

FIRST_WORD_AFTER_S = 50.0
"""seconds of the run after which it is said what is known, even if no number of users has been too many"""
NARROWER_SHARE = 2 / 3
"""of the width said last: a range that is not narrower than this is no news"""
MIN_STABLE_S = 10.0
"""A range that is not proven at both ends is said after the first one only if no reply has contradicted it for so long:
the first replies of a level often say one thing, and those that end a few seconds later another"""
SLOW_REPLY_S = 10.0
"""replies that take this long are said to be why there is no range yet"""

_HOW_TO_END = "Ctrl-C ends the search with its report"
_Range = tuple[Load, Load]


class RangeNews:
    """Decides when a range is worth a line of its own. Ask about once a second."""

    def __init__(self, needed_share: float, who: Who = "people") -> None:
        """`needed_share`: of a person's replies, must be served; `who`: what the users are called."""
        self._needed, self._who = needed_share, who
        self._said: _Range | None = None
        self._said_ends_proven = False, False
        self._candidate: tuple[float, _Range] | None = None
        """a range that is news, and since when"""
        self._said_start = False
        self._said_precise = False

    def line(  # noqa: PLR0913 -- the last three by name only
        self,
        now: float,
        replies: int,
        estimate: CapacityEstimate | None,
        remaining: str = "",
        early: EarlyRange = EarlyRange(),  # noqa: B008 - frozen
        *,
        precise: bool = False,
        generator: str = "",
        widening: Widening | None = None,
    ) -> str | None:
        """Return the next line, None without news.

        `now`: seconds of the run; `remaining`: `about 4 more minutes`; `early`: what replies that go on suggest;
        `precise`: the search goes on although it has reached its precision; `generator`: why the load generator does
        not keep up; `widening`: why the range is wider than it was.
        """
        line = self._news(now, replies, estimate, remaining, early, widening, precise=precise)
        return f"{line}. {generator}" if line and generator else line

    def _news(
        self,
        now: float,
        replies: int,
        estimate: CapacityEstimate | None,
        remaining: str,
        early: EarlyRange,
        widening: Widening | None,
        *,
        precise: bool,
    ) -> str | None:
        known = known_range(estimate, early, self._needed)
        if known is None:
            return self._start(now, replies, estimate, early)
        found: _Range = (known.low, known.high)
        if precise and not self._said_precise:
            self._said, self._said_precise = found, True
            answer = str((estimate and proven_phrase(estimate, None, self._who)) or range_in_words(found, self._who))
            said = f"after {span(now)}: so far {answer[:1].lower()}{answer[1:]}"
            return f"{said}. That is as precise as asked for; narrowing further. {_HOW_TO_END}"
        if self._said is not None and not self._is_settled_news(now, known):
            return None
        why = self._why_wider(known, widening)
        first, self._said, self._candidate = self._said is None, found, None
        self._said_ends_proven = known.low_proven, known.high_proven
        doing = "narrowing" if found[1] - found[0] > MIN_TARGET_USERS else "making sure"
        rest = f"{doing}, {remaining}" if remaining else doing
        said = f"after {span(now)}: {_in_words(known, self._who)}; {rest}"
        return f"{said}. {_HOW_TO_END}" if first else f"{said}{why}"

    def _why_wider(self, known: KnownRange, widening: Widening | None) -> str:
        """Return why a range is not inside the one said last, a sentence after a full stop; empty if it is."""
        if self._said is None or self._said[0] <= known.low <= known.high <= self._said[1]:
            return ""
        if widening is not None:
            return f". {widening.sentence.rstrip('.')}"
        if all(self._said_ends_proven):
            return ""
        is_proven = known.low_proven, known.high_proven
        if any(now and not before for before, now in zip(self._said_ends_proven, is_proven, strict=True)):
            return ". The range before was a first impression"
        return ". Replies since the range before make it less certain"

    def _is_settled_news(self, now: float, known: KnownRange) -> bool:
        """Whether a range is news, and proven at both ends or not contradicted for a while."""
        found = known.low, known.high
        if not self._is_news(known):
            self._candidate = None
            return False
        both_proven = known.low_proven and known.high_proven and (known.low > 0 or not known.high)
        if both_proven:
            return True
        since, before = self._candidate or (now, found)
        inside = before[0] <= found[0] <= found[1] <= before[1]
        self._candidate = (since if inside else now), found
        return now - self._candidate[0] >= MIN_STABLE_S

    def _is_news(self, known: KnownRange) -> bool:
        """Whether a range is clearly narrower than the one said last, or lies clearly outside it."""
        said = self._said or (0, 0)
        found, width = (known.low, known.high), said[1] - said[0]
        beyond = max(said[0] - found[0], found[1] - said[1])
        narrower = found[1] - found[0] <= NARROWER_SHARE * width and found != said
        return narrower or beyond > max(1.0, (1 - NARROWER_SHARE) * width)

    def _start(self, now: float, replies: int, estimate: CapacityEstimate | None, early: EarlyRange) -> str | None:
        """Return once what was seen so far, where no number of people has been too many."""
        if now < FIRST_WORD_AFTER_S or self._said is not None or self._said_start:
            return None
        self._said_start = True
        good, _ = levels_seen(estimate, early, self._needed)
        words = _start_in_words(good, replies, early, self._who)
        return f"after {span(now)}, not proven yet: {words}. {_HOW_TO_END}"


def _start_in_words(good: list[Load], replies: int, early: EarlyRange, who: Who) -> str:
    said = f"{plurals.people(good[-1], who)} looked fine" if good else plurals.things(replies, "reply", "replies")
    if len(good) > 1:
        said = f"probably at least {plurals.people(good[-2], who)}, as {good[-1]:,} looked fine"
    said += f" so far, and no number of {who} has been too many; the search goes on"
    if early.cycle < SLOW_REPLY_S or early.judged_in is None:
        return said
    took = f"{span(early.cycle)} each" if replies else f"more than {span(early.cycle)}"
    return f"{said}. Replies take {took}: about {span(early.judged_in)} until this number of {who} is judged"


def _in_words(known: KnownRange, who: Who) -> str:
    """Return the range: what is proven as `so far`, for later replies may show that earlier ones were worth less."""
    found = known.low, known.high
    if not known.high_proven:
        return f"probably {range_in_words(found, who)}, not proven yet ({_seen(known, who)})"
    if known.low_proven or known.low <= 1:
        return f"so far {range_in_words((known.low if known.low_proven else 0, known.high), who)}"
    likely = f"probably {known.low:,} or more, which is not proven"
    seen = f" ({_good_in_words(known)})" if known.good and known.low < known.good[-1] <= known.high else ""
    return f"so far {range_in_words((0, known.high), who)}, {likely}{seen}"


def _seen(known: KnownRange, who: Who) -> str:
    """Return what the replies so far showed, from which the range follows."""
    by = ", by replies still in progress" if known.bad_in_flight else ""
    bad = known.bad or 1
    if not known.good:
        return f"{plurals.people(bad, who)} looked like too many{by}"
    return _good_in_words(known, f", {bad:,} did not{by}")


def _good_in_words(known: KnownRange, bad: str = "") -> str:
    """Return `4 and 8 looked fine so far, 16 did not; 8 may still be too many`: why the range begins at 4."""
    top = known.good[-1]
    seen = [known.low, top] if 0 < known.low < top else [top]
    said = f"{plurals.listed([f'{users:,}' for users in seen])} looked fine so far{bad}"
    return f"{said}; {top:,} may still be too many"


def range_in_words(found: _Range, who: Who = "people") -> str:
    """Return `somewhere between 6 and 14 people`."""
    low, high = found
    if low == high:
        return f"not even 1 {plurals.one_of(who)} is served well" if not high else plurals.people(high, who)
    if not low:
        return f"fewer than {high + 1:,} {who}"
    return f"somewhere between {low:,} and {high:,} {who}"
