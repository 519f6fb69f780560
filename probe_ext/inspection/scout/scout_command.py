"""Look at several servers: what they say about themselves, what they give away, and a short probe of each.

A probe is 16 requests, 8 at once, with short prompts. With --watch it is repeated until Ctrl-C: a leaderboard over a
rolling window, on the terminal and on a page of this machine. Servers that seem to answer from a cache, or cut their
answers, are marked with the evidence. Exit code 0: a server answered; 3: none did; 130: ended by Ctrl-C. The API key is
read from PROBE_API_KEY. See docs/scout.md (`probe init DIR` copies it).

examples:
  probe scout http://10.0.0.5:8000 http://10.0.0.6:8000
  probe scout --watch --every 30s --window 15m http://10.0.0.5:8000 http://10.0.0.6:8000
"""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent.event import Event
from rich.console import Console
from rich.live import Live

from probe_ext.exit_codes import ExitCode
from probe_ext.inspection.interrupts import silence_interrupts
from probe_ext.inspection.scout import scout_output
from probe_ext.inspection.scout.board_page import BoardPage
from probe_ext.inspection.scout.board_view import BoardRow, board, document
from probe_ext.inspection.scout.candidate import PAIRS, Candidate
from probe_ext.inspection.scout.watch import Watch
from probe_ext.inspection.shared_options import add_options, options_of, read_value, usage_error
from probe_ext.measure import clock
from probe_ext.settings.durations import seconds
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things

_OPTIONS = (
    *("model", "api", "timeout_connect", "insecure", "tls_ca", "tls_client_cert", "tls_client_key"),
    *("header", "header_env", "body"),
)
_REDRAW_S = 1.0
_MIN_EVERY_S, _MIN_WINDOWS = 1.0, 2
_MAX_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the URLs and options of `probe scout`."""
    parser.add_argument("url", metavar="URL", nargs="+", help="base URL of a server; several are compared")
    parser.add_argument("--watch", action="store_true", help="repeat until Ctrl-C, and show a leaderboard")
    parser.add_argument("--every", metavar="TIME", default="30s", help="interval of probes with --watch [30s]")
    parser.add_argument("--window", metavar="TIME", default="15m", help="rolling window of the leaderboard [15m]")
    parser.add_argument(
        "--port",
        metavar="N",
        type=int,
        default=0,
        help="port of the leaderboard's page on 127.0.0.1; 0: a free one [0]",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    add_options(parser, _OPTIONS)


def main(given: argparse.Namespace) -> int:
    """Look at the servers once, or watch them; return the exit code."""
    silence_interrupts()
    try:
        options = options_of(given, _OPTIONS)
        every, window = _durations(given)
        candidates = _candidates(given.url, options)
    except SettingsError as error:
        return usage_error(error)
    return _watch(candidates, given, every, window) if given.watch else _once(candidates, given, window)


def _durations(given: argparse.Namespace) -> tuple[float, float]:
    every, window = read_value("--every", given.every, seconds), read_value("--window", given.window, seconds)
    if every < _MIN_EVERY_S:
        raise SettingsError(f"--every {given.every}: must be at least {_MIN_EVERY_S:g}s")
    if window < _MIN_WINDOWS * every:
        raise SettingsError(f"--window {given.window}: must be at least {_MIN_WINDOWS} × --every ({given.every})")
    if not 0 <= given.port <= _MAX_PORT:
        raise SettingsError(f"--port {given.port}: must be between 0 and {_MAX_PORT}")
    return every, window


def _candidates(urls: Sequence[str], options: Options) -> list[Candidate]:
    seed = int(clock.wall() * 1000)
    candidates = {one.url: one for one in (Candidate(url, options, seed) for url in urls)}
    return list(candidates.values())


def _clock_text() -> Callable[[float], str]:
    """Return a function that puts monotonic seconds into words: `21:03:10 UTC`."""
    offset = clock.wall() - clock.monotonic()
    return lambda moment: f"{clock.utc_text(moment + offset)[11:19]} UTC"


def _once(candidates: list[Candidate], given: argparse.Namespace, window: float) -> int:
    time_of, screen = _clock_text(), Console(stderr=True)
    with screen.status("") as status:
        status.update(f"asking {things(len(candidates), 'server')}")
        watch = Watch(candidates, window, lambda url: status.update(f"{url} is done"))
        try:
            watch.once(PAIRS)
        finally:
            watch.close()
    rows = watch.rows()
    if given.json:
        print(scout_output.as_json(rows, time_of, window), end="")  # noqa: T201 - command output
    else:
        console = scout_output.console(sys.stdout)
        console.print(scout_output.configurations(rows))
        console.print()
        console.print(scout_output.leaderboard(board(rows, time_of, window), _ONE_PROBE))
        for line in scout_output.remark_lines(rows):
            console.print(line, soft_wrap=True)
    return ExitCode.OK if any(row.rank for row in rows) else ExitCode.INVALID


_ONE_PROBE = "Each server was sent 16 requests, 8 at once. Ranked by tokens/s, less the share of failed requests."


def _watch(candidates: list[Candidate], given: argparse.Namespace, every: float, window: float) -> int:
    time_of, stop, lines = _clock_text(), Event(), scout_output.PlainLines()
    console = scout_output.console(sys.stdout)
    caption = (
        f"Window {formats.span(window)}, a probe of 16 requests every {formats.span(every)}. "
        "Ranked by tokens/s, less the share of failed requests."
    )

    def rows() -> list[BoardRow]:
        return board(watch.rows(), time_of, window)

    def note(url: str) -> None:
        if not console.is_terminal and not given.json:
            row = next(row for row in rows() if row.url == url)
            print(lines.line(time_of(clock.monotonic()), row), flush=True)  # noqa: T201 - command output

    watch = Watch(candidates, window, note)
    try:
        page = BoardPage(
            given.port,
            lambda: {"rows": rows(), "caption": caption, "time": time_of(clock.monotonic())},
            lambda: document(watch.rows(), time_of, window),
        )
    except OSError as error:
        print(f"probe: --port {given.port}: {error.strerror}", file=sys.stderr)  # noqa: T201 - command output
        return ExitCode.USAGE
    # Before the line that says it has begun: a Ctrl-C right after that line could otherwise get lost.
    handlers = [gevent.signal_handler(number, stop.set) for number in (signal.SIGINT, signal.SIGTERM)]
    print(f"leaderboard: {page.url}", file=sys.stderr, flush=True)  # noqa: T201 - command output
    probing = watch.start(every, pairs=1)
    try:
        _show_until(stop, console, lambda: scout_output.leaderboard(rows(), caption), live=not given.json)
    finally:
        gevent.killall(probing)
        page.stop()
        for handler in handlers:
            handler.cancel()
    last = watch.rows()
    watch.close()
    if given.json:
        print(scout_output.as_json(last, time_of, window), end="")  # noqa: T201 - command output
    else:
        console.print(scout_output.leaderboard(board(last, time_of, window), caption))
    return ExitCode.INTERRUPTED


def _show_until(stop: Event, console: Console, draw: Callable[[], Any], *, live: bool) -> None:
    """Redraw the board once a second on a terminal, until asked to stop."""
    if not (live and console.is_terminal):
        stop.wait()
        return
    with Live(draw(), console=console, auto_refresh=False, transient=True) as screen:
        while not stop.wait(_REDRAW_S):
            screen.update(draw(), refresh=True)
