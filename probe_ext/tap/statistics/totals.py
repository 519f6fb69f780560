"""Totals of a recording, in bounded memory: counts, sketches of lengths and times, repetitions.

They are made from the lines of a recording alone, so a recording can be looked at again.
"""

import math

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.sketch import MIN_COUNTS, LatencySketch
from probe_ext.recording.recorded_request import SERVED, RecordedRequest
from probe_ext.tap.bounded_table import BoundedTable
from probe_ext.tap.statistics.activity import Activity
from probe_ext.tap.statistics.repeats import Repeats
from probe_ext.tap.statistics.tally import Tally

SUCCESSES = frozenset({Outcome.COMPLETE.value, Outcome.NO_ANSWER.value, SERVED})
OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
MAX_EXACT = 1000
"""values up to which percentiles are exact"""
MAX_SESSIONS = 50_000
MAX_TURNS = 100


class Lengths:
    """Tokens, characters or seconds: a sketch, exact in count, sum and extremes, and up to MAX_EXACT values as well."""

    def __init__(self) -> None:
        self.sketch = LatencySketch()
        self._exact: list[float] = []

    def add(self, value: float | None) -> None:
        """Add a value, if it is known."""
        if value is not None:
            self.sketch.add((value,))
            if self.sketch.count <= MAX_EXACT:
                self._exact.append(value)

    def percentile(self, name: str) -> float | None:
        """Return a percentile of MIN_COUNTS, to within the sketch's accuracy; None of too few values."""
        number, share = self.sketch.count, int(name[1:]) / 100
        if not MIN_COUNTS[name] <= number <= MAX_EXACT:
            return self.sketch.percentile(name)
        return sorted(self._exact)[int(share * (number - 1))]

    @property
    def mean(self) -> float | None:
        """The mean, which rounding errors of the sum never take beyond the largest value; None without values."""
        return min(self.sketch.total / self.sketch.count, self.sketch.maximum) if self.sketch.count else None


class PromptText:
    """How much of the prompts came before, in tokens where the server counts them, else in characters."""

    def __init__(self) -> None:
        self.counted = 0.0
        """prompt tokens of requests whose tokens are known"""
        self.prefix = 0.0
        """of these, at the start of a prompt with which an earlier one began"""
        self.later = 0.0
        """of these, behind the first difference"""
        self.cache_known = 0.0
        """prompt tokens of requests of which the server says how many were in its prefix cache"""
        self.cached = 0.0

    def add(self, line: RecordedRequest) -> None:
        """Add a prompt."""
        tokens, characters = line.input_tokens, line.characters
        if tokens is None or not characters or line.cached:
            return
        per_character = tokens / characters
        self.counted += tokens
        self.prefix += min(tokens, (line.prefix_seen or 0) * per_character)
        self.later += min(tokens, (line.later_seen or 0) * per_character)
        if line.cached_tokens is not None:
            self.cache_known += tokens
            self.cached += line.cached_tokens


class Savings:
    """What a response cache would have saved: replies to requests that had been answered before."""

    def __init__(self) -> None:
        self.requests = 0
        self.fixed = 0
        """of these, requests that ask for the same answer each time: temperature 0, or a seed"""
        self.seconds = 0.0
        self.all_seconds = 0.0
        """of all replies"""
        self.tokens = 0


class Totals:
    """Add the lines of a recording in the order in which requests ended."""

    def __init__(self) -> None:
        self.requests = 0
        self.peak_in_flight = 0
        self.until = 0.0
        """end of the latest request, in seconds since the recording began"""
        self.outcomes = Tally()
        self.activity = Activity()
        self.prompts_asked = 0
        """requests for text; all below is about these"""
        self.failed = 0
        self.first_at, self.last_end = math.inf, 0.0
        """first arrival and last end, in seconds since the recording began"""
        self.readable = 0
        """requests whose body could be read"""
        self.endpoints, self.models = Tally(), Tally()
        self.streamed = self.cached = self.tools = self.media = 0
        self.prompts, self.identical = Repeats(), Repeats()
        self.input, self.output, self.characters, self.needed = Lengths(), Lengths(), Lengths(), Lengths()
        self.unbounded = 0
        """readable requests that state no limit of output tokens"""
        self.events_only = 0
        """streams whose tokens the server did not count"""
        self.text = PromptText()
        self.savings = Savings()
        self.ttft, self.duration, self.longest_gap = Lengths(), Lengths(), Lengths()
        self.cached_duration = Lengths()
        self.sessions = 0
        self.turns = [0] * MAX_TURNS
        """sessions by their number of turns so far, the last also of longer ones"""
        self.think, self.tool_pause = Lengths(), Lengths()
        self._ended: BoundedTable[str, float] = BoundedTable(MAX_SESSIONS)

    def add(self, line: RecordedRequest) -> None:
        """Add a request."""
        self.requests += 1
        self.until = max(self.until, line.end)
        self.outcomes.add(line.outcome)
        failed = line.outcome not in SUCCESSES
        self.peak_in_flight = max(self.peak_in_flight, line.in_flight or 0)
        self.activity.add(line.at, line.duration, line.in_flight or 0, failed=failed)
        if line.endpoint != "other":
            self._add_text_request(line, failed=failed)

    def _add_text_request(self, line: RecordedRequest, *, failed: bool) -> None:
        self.prompts_asked += 1
        self.failed += failed
        self.first_at, self.last_end = min(self.first_at, line.at), max(self.last_end, line.end)
        self.endpoints.add(line.endpoint)
        self.models.add(line.model or "(none)")
        self.streamed += line.stream
        self.cached += line.cached
        self.tools += line.tools
        self.media += line.media
        self.events_only += line.events is not None and line.output_tokens is None
        if line.prompt is not None:
            self.prompts.add(line.prompt)
        self._add_lengths(line)
        self._add_session(line)
        self.text.add(line)
        if not failed:
            self._add_times(line)
        self._add_savings(line, failed=failed)

    def _add_lengths(self, line: RecordedRequest) -> None:
        self.input.add(line.input_tokens)
        self.output.add(line.output_tokens)
        self.characters.add(line.characters)
        if line.prompt is None:  # an unreadable body: what it asked for is unknown
            return
        self.readable += 1
        limits = [line.parameters[name] for name in OUTPUT_LIMITS if name in line.parameters]
        self.unbounded += not limits
        if line.input_tokens is not None:
            beyond = max([*limits, line.output_tokens or 0]) if limits else line.output_tokens or 0
            self.needed.add(line.input_tokens + beyond)

    def _add_times(self, line: RecordedRequest) -> None:
        if line.cached:
            self.cached_duration.add(line.duration)
            return
        self.duration.add(line.duration)
        self.ttft.add(line.ttft)
        self.longest_gap.add(line.gaps.max if line.gaps else None)

    def _add_savings(self, line: RecordedRequest, *, failed: bool) -> None:
        savings = self.savings
        if line.identical is None or failed:
            return
        seen = self.identical.add(line.identical)
        savings.all_seconds += line.duration
        if seen:
            savings.requests += 1
            savings.fixed += line.parameters.get("temperature") == 0 or "seed" in line.parameters
            savings.seconds += line.duration
            savings.tokens += line.output_tokens or 0

    def _add_session(self, line: RecordedRequest) -> None:
        if line.session is None or line.turn is None:
            return
        place = min(line.turn, MAX_TURNS - 1)
        if line.turn == 0:
            self.sessions += 1
        elif place and line.turn < MAX_TURNS:
            self.turns[place - 1] -= 1
        if line.turn < MAX_TURNS:
            self.turns[place] += 1
        before = self._ended.get(line.session)
        if before is not None and line.at >= before:
            (self.tool_pause if line.tool_results else self.think).add(line.at - before)
        self._ended.put(line.session, line.end)
