"""Record what clients really send to a server, as a proxy between them; inspect a recording; turn it into a workload.

Everything is passed on unchanged. Recorded are, per request, times, lengths, token counts, parameters and hashes of
prompts: no text, no keys. It runs until Ctrl-C, and then says what was asked for and what follows from it; the page
`tap.html` in the recording's folder shows the same meanwhile. Exit code 0: a recording was read; 130: ended by Ctrl-C;
3: lines could not be written. See docs/tap.md.

examples:
  probe tap --upstream http://127.0.0.1:8000 --port 8080
  probe tap reports/recordings/20260131T120000Z
  probe tap reports/recordings/20260131T120000Z --to team.yaml
"""

import argparse
import asyncio
import errno
import os
import re
import socket
import ssl
import sys
from pathlib import Path

from probe_ext.client.wire.address import parse_target
from probe_ext.exit_codes import ExitCode
from probe_ext.inspection.shared_options import add_options, name_url, options_of, read_value
from probe_ext.measure import clock
from probe_ext.recording.recording_files import RecordingError, read_recording
from probe_ext.settings.durations import seconds
from probe_ext.settings.errors import SettingsError
from probe_ext.tap.derived.derived_workload import derive
from probe_ext.tap.derived.workload_writer import fit_rows, remarks, write_workload
from probe_ext.tap.proxy.listener import listening_socket
from probe_ext.tap.proxy.response_cache import ResponseCache
from probe_ext.tap.recording_session import TapSettings, record
from probe_ext.tap.shown.recording_page import write_page
from probe_ext.tap.shown.recording_view import recording_view
from probe_ext.tap.shown.terminal_table import console, fit_table, table
from probe_ext.tap.statistics.totals import Totals
from probe_ext.tls_trust import TlsFileError, client_context
from probe_ext.workload.workload_file import read_workload

_OPTIONS = ("timeout_connect", "insecure", "tls_ca", "tls_client_cert", "tls_client_key")
_MIN_SILENCE_S = 1.0
_MAX_PORT = 65535
_UNITS = {"KB": 1000, "MB": 1000**2, "GB": 1000**3}
_SIZE = re.compile(r"([1-9][0-9]{0,5})\s*(KB|MB|GB)", re.IGNORECASE)
_FOLDER = Path("reports") / "recordings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `probe tap`."""
    parser.add_argument("recording", metavar="RECORDING", nargs="?", help="folder of a recording to look at again")
    parser.add_argument("--to", metavar="FILE", help="write the recording's traffic as a workload (YAML)")
    parser.add_argument("--upstream", metavar="URL", help="base URL of the server to which everything is passed on")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on [127.0.0.1]")
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="port to listen on; 0: a free one [8080]")
    parser.add_argument("--out", metavar="DIR", help="new folder for the recording [reports/recordings/TIME]")
    parser.add_argument("--keep-text", action="store_true", help="keep prompts and replies as well, in text.jsonl")
    parser.add_argument("--cache", action="store_true", help="answer identical requests from memory")
    parser.add_argument("--cache-size", metavar="SIZE", default="256MB", help="memory of --cache [256MB]")
    parser.add_argument("--cache-age", metavar="TIME", default="1h", help="how long --cache keeps a reply [1h]")
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        default="10m",
        help="give up on a server or client that is silent for this long [10m]",
    )
    parser.add_argument("--serve-cert", metavar="FILE", help="certificate chain (PEM), to speak TLS with clients")
    parser.add_argument("--serve-key", metavar="FILE", help="private key (PEM) for --serve-cert")
    add_options(parser, _OPTIONS)


def main(given: argparse.Namespace) -> int:
    """Record, or look at a recording; return the exit code."""
    try:
        return _run(given)
    except (SettingsError, RecordingError, TlsFileError) as error:
        print(f"probe: {error}", file=sys.stderr)  # noqa: T201 - command output
        return ExitCode.USAGE


def _run(given: argparse.Namespace) -> int:
    if (given.upstream is None) == (given.recording is None):
        raise SettingsError("tap: give either --upstream URL, to record, or the folder of a recording")
    if given.to is not None and given.recording is None:
        raise SettingsError(f"--to {given.to}: needs the folder of a recording")
    if given.recording is None:
        return _record(given)
    return _look(Path(given.recording)) if given.to is None else _derive(Path(given.recording), Path(given.to))


def _derive(folder: Path, path: Path) -> int:
    if path.exists():
        raise SettingsError(f"--to {path}: exists already; choose another name, or remove it")
    recording = read_recording(folder)
    workload = derive(list(recording.requests()))
    if workload is None:
        raise SettingsError(f"{folder}: no request for text in it was answered")
    since = recording.head.started_at[:10]
    try:
        written = write_workload(path, workload, f"How many of the users recorded on {since} can use this?")
    except OSError as error:
        raise SettingsError(f"--to {path}: {error.strerror}") from error
    screen = console(sys.stdout)
    screen.print(fit_table(fit_rows(workload)))
    for remark in remarks(workload, recording.torn):
        screen.print(remark, soft_wrap=True)
    files = "" if len(written) == 1 else f", and recorded values in {written[1].parent}"
    print(f"workload: {path}{files}")  # noqa: T201 - command output
    read_workload(str(path))  # a workload that a run would refuse is an error of this command
    print(f"next: probe run --workload {path} --search --ignore-eos --host URL")  # noqa: T201 - command output
    return ExitCode.OK


def _look(folder: Path) -> int:
    recording, totals = read_recording(folder), Totals()
    for request in recording.requests():
        totals.add(request)
    view = recording_view(recording.head, totals, in_flight=None, torn=recording.torn)
    try:
        page = write_page(folder, view)
    except OSError as error:
        raise SettingsError(f"{folder}: {error.strerror}") from error
    console(sys.stdout).print(table(view))
    print(f"page: {page}")  # noqa: T201 - command output
    return ExitCode.OK


def _record(given: argparse.Namespace) -> int:
    settings = _settings(given)
    try:
        with listening_socket(settings.host, settings.port) as listening:
            return asyncio.run(record(settings, listening))
    except FileExistsError as error:
        raise SettingsError(f"--out {settings.folder}: has a recording already; choose a new folder") from error
    except OSError as error:
        raise SettingsError(_why_not(settings, error)) from error


def _settings(given: argparse.Namespace) -> TapSettings:
    options = options_of(given, _OPTIONS)
    silence = read_value("--timeout", given.timeout, seconds)
    if silence < _MIN_SILENCE_S:
        raise SettingsError(f"--timeout {given.timeout}: must be at least {_MIN_SILENCE_S:g}s")
    if not 0 <= given.port <= _MAX_PORT:
        raise SettingsError(f"--port {given.port}: must be between 0 and {_MAX_PORT}")
    try:
        target = parse_target(given.upstream)
    except ValueError as error:
        raise SettingsError(name_url(error, "--upstream")) from error
    return TapSettings(
        target=target,
        host=given.host,
        port=given.port,
        folder=Path(given.out) if given.out else _FOLDER / clock.utc_compact(clock.wall()),
        connect=options.timeout_connect,
        silence=silence,
        keeps_text=given.keep_text,
        cache=_cache(given),
        upstream_context=client_context(options.tls) if target.tls else None,
        client_context=_serving_context(given.serve_cert, given.serve_key),
    )


def _cache(given: argparse.Namespace) -> ResponseCache | None:
    size = read_value("--cache-size", given.cache_size, _size_in_bytes)
    age = read_value("--cache-age", given.cache_age, seconds)
    return ResponseCache(size, age) if given.cache else None


def _size_in_bytes(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError("is not a valid size (e.g. 256MB, 2GB)")
    return int(found[1]) * _UNITS[found[2].upper()]


def _serving_context(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if cert is None:
        if key is not None:
            raise SettingsError(f"--serve-key {key}: needs --serve-cert as well")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ValueError) as error:
        hint = "" if key else "; name the key with --serve-key"
        raise SettingsError(f"--serve-cert {cert}: is not a certificate with its private key (PEM){hint}") from error
    return context


def _why_not(settings: TapSettings, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"--host {settings.host}: {error.strerror}"
    if error.filename is not None:
        return f"--out {settings.folder}: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        return f"--port {settings.port}: already in use; choose another, or 0 to pick a free one"
    option = f"--host {settings.host}" if error.errno == errno.EADDRNOTAVAIL else f"--port {settings.port}"
    return f"{option}: {os.strerror(error.errno or 0)}"
