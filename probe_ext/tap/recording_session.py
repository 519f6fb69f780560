"""Run the tap until Ctrl-C: listen, show, and write the page again and again."""

import asyncio
import shlex
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live

from probe_ext import __version__
from probe_ext.client.wire.address import Target
from probe_ext.exit_codes import ExitCode
from probe_ext.measure import clock
from probe_ext.recording.recorded_request import SCHEMA, RecordingHead
from probe_ext.tap.proxy.listener import Listener
from probe_ext.tap.proxy.passing import Passing
from probe_ext.tap.proxy.response_cache import ResponseCache
from probe_ext.tap.proxy.upstream import Upstream
from probe_ext.tap.shown.recording_page import PAGE_FILE
from probe_ext.tap.shown.recording_view import RecordingView, recording_view
from probe_ext.tap.shown.terminal_table import console, table
from probe_ext.tap.traffic_recorder import Recorder

_REDRAW_S, _PAGE_S, _LIMIT_RETRY_S = 1.0, 15.0, 30.0


@dataclass(frozen=True, slots=True)
class TapSettings:
    """What `probe tap --upstream` was asked for. Times in seconds."""

    target: Target
    host: str
    port: int
    folder: Path
    connect: float
    silence: float
    """longest time without a byte from either side"""
    keeps_text: bool = False
    cache: ResponseCache | None = None
    upstream_context: ssl.SSLContext | None = None
    client_context: ssl.SSLContext | None = None


async def record(settings: TapSettings, listening: socket.socket) -> int:
    """Record until SIGINT or SIGTERM; return the exit code. OSError if the files cannot be made."""
    head = RecordingHead(
        schema=SCHEMA,
        upstream=f"{'https' if settings.target.tls else 'http'}://{settings.target.authority}",
        started_at=clock.utc_text(clock.wall()),
        probe_ext=__version__,
        cache=settings.cache is not None,
        keeps_text=settings.keeps_text,
    )
    recorder = Recorder(settings.folder, head)
    upstream = Upstream(settings.target, settings.upstream_context, connect=settings.connect, silence=settings.silence)
    listener = Listener(Passing(upstream, recorder, settings.silence, settings.cache), recorder)
    tasks: list[asyncio.Task[None]] = []
    try:
        await listener.start(listening, settings.client_context)
        stop = _stop_signal()
        _announce(settings, listening.getsockname()[1])
        tasks = [asyncio.create_task(_learn_limit(upstream, recorder)), asyncio.create_task(_refresh_page(recorder))]
        await _show_until(stop, console(sys.stdout), lambda: table(_view(recorder)))
    finally:
        for task in tasks:
            task.cancel()
        await listener.close()
        await upstream.close()
        recorder.close()
    return _report(recorder)


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _announce(settings: TapSettings, port: int) -> None:
    name = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "https" if settings.client_context else "http"
    lines = (
        f"listening on {scheme}://{name}:{port}, passing on to {settings.target.url}",
        f"recording: {settings.folder} (page: {settings.folder / PAGE_FILE})",
    )
    print("\n".join(lines), flush=True)  # noqa: T201 - callers wait for the first line


def _view(recorder: Recorder, *, ended: bool = False) -> RecordingView:
    return recording_view(recorder.head, recorder.totals, in_flight=None if ended else recorder.in_flight)


async def _learn_limit(upstream: Upstream, recorder: Recorder) -> None:
    """Ask for the server's context length until it answers: it may be started after the tap."""
    while recorder.head.max_model_len is None:
        recorder.set_limit(await upstream.max_model_len())
        await asyncio.sleep(_LIMIT_RETRY_S)


async def _refresh_page(recorder: Recorder) -> None:
    while True:
        recorder.write_page(_view(recorder))
        await asyncio.sleep(_PAGE_S)


async def _show_until(stop: asyncio.Event, screen: Console, draw: Callable[[], RenderableType]) -> None:
    """Redraw the table once a second on a terminal, until asked to stop."""
    if not screen.is_terminal:
        await stop.wait()
        return
    with Live(draw(), console=screen, auto_refresh=False, transient=True) as live:
        while not stop.is_set():
            try:
                async with asyncio.timeout(_REDRAW_S):
                    await stop.wait()
            except TimeoutError:
                live.update(draw(), refresh=True)


def _where_and_next(recorder: Recorder) -> list[str]:
    """Return where recording and page are, and what to do with them, if there is anything to make a workload of."""
    lines = [f"recording: {recorder.folder}", f"page: {recorder.folder / PAGE_FILE}"]
    if recorder.totals.prompts_asked > recorder.totals.failed:
        lines.append(f"next: probe tap {shlex.quote(str(recorder.folder))} --to workload.yaml")
    return lines


def _report(recorder: Recorder) -> int:
    view = _view(recorder, ended=True)
    recorder.write_page(view)
    console(sys.stdout).print(table(view))
    print("\n".join(_where_and_next(recorder)), flush=True)  # noqa: T201 - command output
    if recorder.problem is not None:
        print(f"probe: {recorder.folder}: {recorder.problem}", file=sys.stderr)  # noqa: T201 - command output
        return ExitCode.INVALID
    return ExitCode.INTERRUPTED
