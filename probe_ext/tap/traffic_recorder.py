"""Keeps the recording of a running tap: numbers requests, writes a line for each, and adds it to the statistics."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from probe_ext.measure import clock
from probe_ext.recording.recorded_request import BAD_REQUEST, RecordedRequest, RecordingHead
from probe_ext.recording.recording_files import REQUESTS_FILE, TEXT_FILE, JsonLines, as_line, write_head
from probe_ext.tap.shown.recording_page import write_page
from probe_ext.tap.shown.recording_view import RecordingView
from probe_ext.tap.statistics.totals import Totals
from probe_ext.tap.traffic.observed_request import KeptText, Memory, ObservedRequest


class Recorder:
    """A recording that goes on. OSError from the constructor if its files cannot be made.

    A line that cannot be written is counted; it is in the statistics all the same.
    """

    def __init__(self, folder: Path, head: RecordingHead) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._head = folder, head
        self._lines = JsonLines(folder / REQUESTS_FILE)
        self._texts = JsonLines(folder / TEXT_FILE) if head.keeps_text else None
        write_head(folder, head)
        self._memory = Memory()
        self.started = clock.monotonic()
        self._numbers = 0
        self.in_flight = 0
        self.lost = 0
        self.problem: str | None = None
        """why the latest file could not be written"""
        self.totals = Totals()

    @property
    def head(self) -> RecordingHead:
        """What is known of the recording so far."""
        return self._head

    def set_limit(self, max_model_len: int | None) -> None:
        """Note the server's context length."""
        if max_model_len != self._head.max_model_len and max_model_len is not None:
            self._head = replace(self._head, max_model_len=max_model_len)
            self._write_head()

    def begin(self, at: float, method: str, path: str, headers: Mapping[str, str]) -> ObservedRequest:
        """Note the arrival of a request; `end` and `record` must follow once each."""
        self.in_flight += 1
        number, self._numbers = self._numbers, self._numbers + 1
        return ObservedRequest(
            self._memory, number=number, at=at, in_flight=self.in_flight, method=method, path=path, headers=headers
        )

    def end(self, request: ObservedRequest, broken: str | None) -> None:
        """Note the end of a request. `broken`: the outcome, if it was broken off."""
        self.in_flight -= 1
        request.end(clock.monotonic(), broken)

    def record(self, request: ObservedRequest) -> str | None:
        """Write the line of a request that has ended, and return its outcome."""
        try:
            line, text = request.finish(self.started)
        except Exception as error:  # whatever a client or server sent: its traffic must not suffer
            self.lost += 1
            self.problem = f"internal error (please report): {type(error).__name__}: {error}"
            return None
        self._write(line, text)
        return line.outcome

    def bad_request(self, at: float) -> None:
        """Record bytes that are no HTTP request."""
        number, self._numbers = self._numbers, self._numbers + 1
        line = RecordedRequest(
            number=number,
            at=at - self.started,
            duration=0.0,
            endpoint="other",
            method="",
            status=400,
            outcome=BAD_REQUEST,
            in_flight=self.in_flight + 1,
        )
        self._write(line, None)

    def _write(self, line: RecordedRequest, text: KeptText | None) -> None:
        self.totals.add(line)
        try:
            self._lines.write(as_line(line))
            if self._texts is not None and text is not None and text.request is not None:
                self._texts.write(asdict(text))
        except OSError as error:
            self.lost += 1
            self.problem = error.strerror

    def write_page(self, view: RecordingView) -> None:
        """Write the page into the recording's folder."""
        try:
            write_page(self.folder, view)
        except OSError as error:
            self.problem = error.strerror

    def close(self) -> None:
        """End the recording: close its files, and complete `tap.json`."""
        ended = clock.utc_text(clock.wall())
        self._head = replace(self._head, ended_at=ended, requests=self._lines.lines, lost=self.lost)
        self._lines.close()
        if self._texts is not None:
            self._texts.close()
        self._write_head()

    def _write_head(self) -> None:
        try:
            write_head(self.folder, self._head)
        except OSError as error:
            self.problem = error.strerror
