"""A recording in words and numbers, as terminal and page show it. All texts are printable; missing is a dash."""

from collections.abc import Sequence
from dataclasses import dataclass

from probe_ext.measure.safe_text import printable, safe_text
from probe_ext.recording.recorded_request import TAP_OUTCOMES, RecordingHead
from probe_ext.tap.shown.charts import Chart, histogram, timeline
from probe_ext.tap.statistics.implications import Implication, implications
from probe_ext.tap.statistics.totals import Lengths, Totals
from probe_ext.verdict.phrasing.formats import DASH, count, percent, seconds, span
from probe_ext.verdict.phrasing.plurals import things

MAX_NAME = 60
_MAX_ROWS = 12


@dataclass(frozen=True, slots=True)
class Distribution:
    """A row of lengths or times."""

    name: str
    number: str
    mean: str
    p50: str
    p95: str
    p99: str
    largest: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Names with their counts, the most frequent first."""

    title: str
    rows: Sequence[tuple[str, str, str]]
    """name, count, share"""


@dataclass(frozen=True, slots=True)
class RecordingView:
    """Everything that is shown of a recording."""

    sentence: str
    facts: Sequence[str]
    running: bool
    figures: Sequence[tuple[str, str]]
    implications: Sequence[Implication]
    lengths: Sequence[Distribution]
    times: Sequence[Distribution]
    counts: Sequence[Counts]
    """the last one is of outcomes"""
    charts: Sequence[Chart]
    notes: Sequence[str]


def recording_view(head: RecordingHead, totals: Totals, *, in_flight: int | None, torn: int = 0) -> RecordingView:
    """Return what is shown. `in_flight`: None for a recording that has ended; `torn`: lines that were broken off."""
    asked = totals.prompts_asked
    return RecordingView(
        sentence=_sentence(totals),
        facts=_facts(head, totals),
        running=in_flight is not None,
        figures=_figures(totals, in_flight),
        implications=implications(totals, head.max_model_len),
        lengths=_lengths(totals),
        times=_times(totals),
        counts=[
            _counts("Endpoints", totals.endpoints.most_common(), asked),
            _counts("Models", totals.models.most_common(), asked),
            _turns(totals),
            _counts("Outcomes of all requests", totals.outcomes.most_common(), totals.requests),
        ],
        charts=_charts(totals),
        notes=_notes(head, totals, torn),
    )


def _sentence(totals: Totals) -> str:
    if not totals.prompts_asked:
        return f"{things(totals.requests, 'request')} so far, none for text."
    about = "" if totals.prompts.exact else "about "
    distinct = things(totals.prompts.distinct, "distinct prompt")
    streamed = percent(totals.streamed / totals.prompts_asked)
    return f"{things(totals.prompts_asked, 'request')} for text: {about}{distinct}, {streamed} streamed."


def _facts(head: RecordingHead, totals: Totals) -> list[str]:
    facts = [
        printable(head.upstream),
        f"since {printable(head.started_at)[:19].replace('T', ' ')} UTC",
        span(totals.until),
    ]
    return [*facts, "with response cache"] if head.cache else facts


def _figures(totals: Totals, in_flight: int | None) -> list[tuple[str, str]]:
    asked, text = totals.prompts_asked, totals.text
    figures = [
        ("requests for text", count(asked)),
        ("requests per second, from first arrival to last end", _rate(totals)),
        ("distinct prompts", count(totals.prompts.distinct) if asked else DASH),
        ("streamed", _share(totals.streamed, asked)),
        ("most in flight", count(totals.peak_in_flight)),
        ("sessions", count(totals.sessions)),
        ("prompt tokens that repeat a beginning", _share(text.prefix, text.counted)),
        ("… found in the server's cache", _share(text.cached, text.cache_known)),
        ("with tools", _share(totals.tools, asked)),
        ("failed, of requests for text", _share(totals.failed, asked)),
    ]
    if totals.cached:
        figures.append(("answered from the tap's cache", _share(totals.cached, asked)))
    if in_flight is not None:
        figures.insert(4, ("in flight now", count(in_flight)))
    return figures


def _rate(totals: Totals) -> str:
    seconds_long = totals.last_end - totals.first_at
    return f"{totals.prompts_asked / seconds_long:.3g}" if totals.prompts_asked > 1 and seconds_long > 0 else DASH


def _share(part: float, whole: float) -> str:
    return percent(part / whole) if whole else DASH


def _lengths(totals: Totals) -> list[Distribution]:
    rows = (
        ("prompt, tokens", totals.input),
        ("reply, tokens", totals.output),
        ("prompt with reply limit, tokens", totals.needed),
        ("prompt, characters", totals.characters),
    )
    return [_distribution(name, lengths, times=False) for name, lengths in rows]


def _times(totals: Totals) -> list[Distribution]:
    rows = (
        ("TTFT, of streams", totals.ttft),
        ("whole reply", totals.duration),
        ("longest gap of a stream", totals.longest_gap),
        ("think time between turns", totals.think),
        ("pause before a tool's result", totals.tool_pause),
    )
    cached = [("from the tap's cache", totals.cached_duration)] if totals.cached else []
    return [_distribution(name, values, times=True) for name, values in (*rows, *cached)]


def _distribution(name: str, values: Lengths, *, times: bool) -> Distribution:
    shown, number = seconds if times else count, values.sketch.count
    largest = shown(values.sketch.maximum if number else None)
    p50, p95, p99 = (shown(values.percentile(each)) for each in ("p50", "p95", "p99"))
    return Distribution(name, count(number), shown(values.mean), p50, p95, p99, largest)


def _counts(title: str, rows: Sequence[tuple[str, int]], whole: int) -> Counts:
    shown = [
        (safe_text(name, length=MAX_NAME), count(number), _share(number, whole)) for name, number in rows[:_MAX_ROWS]
    ]
    rest = sum(number for _, number in rows[_MAX_ROWS:])
    return Counts(title, [*shown, ("(others)", count(rest), _share(rest, whole))] if rest else shown)


def _turns(totals: Totals) -> Counts:
    turns = [(n, number) for n, number in enumerate(totals.turns, 1) if number]
    named = [("1 turn" if n == 1 else f"{n} turns", number) for n, number in turns]
    if len(named) > _MAX_ROWS:
        more = sum(number for _, number in named[_MAX_ROWS:])
        named = [*named[:_MAX_ROWS], (f"more than {turns[_MAX_ROWS - 1][0]} turns", more)]
    return Counts("Sessions", [(name, count(number), _share(number, totals.sessions)) for name, number in named])


def _charts(totals: Totals) -> list[Chart]:
    charts = [timeline(totals.activity)]
    for name, lengths in (("Prompt length, tokens", totals.input), ("Reply length, tokens", totals.output)):
        if lengths.sketch.count:
            charts.append(histogram(name, lengths))
    return charts


def _notes(head: RecordingHead, totals: Totals, torn: int) -> list[str]:
    notes = []
    if totals.events_only:
        notes.append(
            f"The server did not count the tokens of {things(totals.events_only, 'stream')}: their lengths are "
            "missing. Clients get counts with stream_options.include_usage."
        )
    if not totals.prompts.exact:
        notes.append("There were too many prompts to remember all: the number of distinct ones may be lower.")
    if head.lost:
        notes.append(f"{things(head.lost, 'line')} could not be written.")
    if torn:
        notes.append(f"{things(torn, 'line')} of the recording were broken off, and left out." if torn > 1 else
                     "1 line of the recording was broken off, and left out.")  # fmt: skip
    notes += [
        f"{name}: {meaning}." for name, meaning in TAP_OUTCOMES.items() if name != "served" and totals.outcomes[name]
    ]
    return notes
