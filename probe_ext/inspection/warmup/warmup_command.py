"""Warm a server up with 1, 2, 4, … requests at once, until TTFT stops falling, and say what it cost.

For restart scripts: exit code 0 when the server is warm, 1 if it is not within the time, 3 if it cannot be reached or
does not answer requests. The API key is read from PROBE_API_KEY. See docs/warm-up.md (`probe init DIR` copies it).

examples:
  probe warmup http://127.0.0.1:8000 --users 32
  probe warmup http://127.0.0.1:8000 --wait 10m --users 64 --scenario memory_wall
"""

import argparse
import sys
from typing import TextIO

import gevent
from rich.console import Console
from rich.table import Table
from rich.text import Text

from probe_ext.access.agreed_form import agree
from probe_ext.access.endpoint import Endpoint
from probe_ext.access.known_server import KnownServer, fetcher_for, know_server, target_and_key
from probe_ext.access.sender import Answered, Question, Sender
from probe_ext.client.api.request_form import RequestForm
from probe_ext.exit_codes import ExitCode
from probe_ext.inspection.interrupts import silence_interrupts
from probe_ext.inspection.shared_options import add_options, options_of, read_value, usage_error
from probe_ext.inspection.warmup.arrival import is_up, wait_for
from probe_ext.inspection.warmup.warming import Ask, Tell, WarmUp, WarmUpStep, warm
from probe_ext.measure import clock
from probe_ext.measure.safe_text import printable, safe_text
from probe_ext.prompts.composer import TooShortError
from probe_ext.prompts.length_model import estimated_model
from probe_ext.prompts.synthetic import PromptMaker
from probe_ext.settings.durations import seconds as duration
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.settings.readers import user_count
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things

_OPTIONS = (
    *("model", "api", "workload", "no_stream", "input_tokens", "max_tokens", "usage"),
    *("timeout_connect", "timeout_first", "timeout_gap"),
    *("insecure", "tls_ca", "tls_client_cert", "tls_client_key", "header", "header_env", "body"),
)
DEFAULT_USERS, DEFAULT_LIMIT, DEFAULT_WAIT = "8", "15m", "0s"
_MAX_REPLY_TOKENS = 32
"""longer replies would warm nothing that shorter ones do not"""
_PIPE_COLUMNS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the URL, the extent of the warm-up and the options of its requests."""
    parser.add_argument("url", metavar="URL", help="base URL of the server, with a gateway's path prefix if it has one")
    for flag, metavar, default, text in (
        ("--users", "N", DEFAULT_USERS, "requests at once in the last step"),
        ("--wait", "TIME", DEFAULT_WAIT, "wait for a server that is not up yet"),
        ("--within", "TIME", DEFAULT_LIMIT, "time limit of the warm-up itself"),
    ):
        parser.add_argument(flag, metavar=metavar, default=default, help=f"{text} [{default}]")
    parser.add_argument("--scenario", metavar="NAME|FILE", help="take the prompt and reply lengths of this scenario")
    add_options(parser, _OPTIONS)


def main(given: argparse.Namespace) -> int:
    """Wait for the server, warm it up, print what each step cost; return the exit code."""
    silence_interrupts()
    screen = Console(stderr=True)
    try:
        options = options_of(given, _OPTIONS, given.scenario)
        users = read_value("--users", given.users, user_count)
        wait, within = read_value("--wait", given.wait, duration), read_value("--within", given.within, duration)
        target, key = target_and_key(given.url)
        with screen.status("") as status:

            def tell(text: str | None) -> None:
                status.update(text or "")

            fetcher = fetcher_for(target, key, options)
            began = clock.monotonic()
            server = wait_for(lambda: know_server(target, fetcher, options), wait, tell, gevent.sleep)
            if not is_up(server):
                return _unreachable(server, clock.monotonic() - began if wait else 0.0)
            result = _warm(server, options, users, within, tell)
    except SettingsError as error:
        return usage_error(error)
    show(result, sys.stdout)
    if result.failing:
        return ExitCode.INVALID
    return ExitCode.OK if result.warm else ExitCode.GATE


def _unreachable(server: KnownServer, waited: float) -> int:
    after = f" after {formats.span(waited)}" if round(waited) else ""
    why = safe_text(server.models_error or "lists no models; name one with --model")
    print(f"probe: {server.url}: {why}{after}", file=sys.stderr)  # noqa: T201 - command output
    return ExitCode.INVALID


def _warm(server: KnownServer, options: Options, users: int, within: float, tell: Tell) -> WarmUp:
    """Warm up; where nothing is answered, look for a request form that the server accepts, and try again."""
    asked = RequestForm(options.usage)
    result = warm(*_requests(server, options, asked), users, within, tell)
    if not result.failing:
        return result

    def send(form: RequestForm) -> Answered:
        sender, ask = _requests(server, options, form)
        return sender.ask(ask(), fresh=True)

    negotiated = agree(asked, send, options)
    if not negotiated.losses or not negotiated.reply.answered:
        return result
    return warm(*_requests(server, options, negotiated.form), users, within, tell)


def _requests(server: KnownServer, options: Options, form: RequestForm) -> tuple[Sender, Ask]:
    """Return a sender, and what makes a new question each time it is called. SettingsError for too short prompts."""
    try:
        maker = PromptMaker(int(clock.wall() * 1000), options.input_tokens, estimated_model())
    except TooShortError as error:
        raise SettingsError(f"--input-tokens {options.input_tokens}: {error}") from error
    asked = iter(range(1 << 30))
    max_tokens = min(options.max_tokens, _MAX_REPLY_TOKENS)

    def ask() -> Question:
        return Question(maker.prompt(0, next(asked)), max_tokens, not options.no_stream)

    return Sender(Endpoint(server.url, options, server.model or "", form), options.api), ask


def show(result: WarmUp, to: TextIO) -> None:
    """Print a table of all steps, and the result in a sentence."""
    console = Console(file=to, highlight=False, width=None if to.isatty() else _PIPE_COLUMNS)
    table = Table(box=None, pad_edge=False)
    time = "TTFT" if result.streamed or result.failing else "whole reply"
    for head in ("at once", "rounds", f"{time} at first", f"{time} at last", "took", ""):
        table.add_column(head, justify="left" if not head else "right", no_wrap=bool(head))
    for step in result.steps:
        figures = (formats.seconds(step.first), formats.seconds(step.last), formats.span(step.seconds))
        table.add_row(f"{step.requests:,}", str(len(step.first_tokens)), *figures, Text(_state(step)))
    console.print(table)
    console.print(Text(sentence(result), style="bold"), soft_wrap=True)


def _state(step: WarmUpStep) -> str:
    state = "warm" if step.settled else "not warm in time" if step.out_of_time else "still falling"
    if not step.first_tokens:
        state = "no answer" if not step.out_of_time else "no answer in time"
    if not step.failed:
        return state
    said = f": {printable(step.message)}" if step.message else ""
    return f"{state}; {step.failed:,} of {things(step.sent, 'request')} failed{said}"


def sentence(result: WarmUp) -> str:
    """Say whether the server is warm, and what it cost."""
    took = formats.span(result.seconds)
    if result.failing:
        said = result.steps[-1].message if result.steps else None
        return f"The server answered nothing{f': {printable(said)}' if said else ''}."
    cost = _cost(max(result.steps, key=lambda step: step.first or 0.0), "first tokens" if result.streamed else _WHOLE)
    if result.warm:
        return f"Warm after {took}: {cost}."
    settled = {step.requests for step in result.steps if step.settled}
    missing = next(requests for requests in result.planned if requests not in settled)
    return f"Not warm after {took}: {things(missing, 'request')} at once did not settle in time; {cost}."


_WHOLE = "whole replies, which are not streamed,"


def _cost(coldest: WarmUpStep, what: str) -> str:
    """Compare the longest wait for first tokens, or whole replies, with the same number of requests later."""
    first, last = coldest.first, coldest.last
    at_once = f"with {things(coldest.requests, 'request')} at once"
    if not first or not last or first < 2 * last:
        return f"{what} took {formats.seconds(last)} {at_once}, and little longer in the first round"
    ratio = formats.decimals(first / last)
    times = f"{formats.seconds(first)} at first and {formats.seconds(last)} later"
    return f"{what} took {times}, {ratio} times less ({at_once})"
