"""Run a simulated vLLM-like server, with OpenAI's API and vLLM's metrics, to try out load tests without a GPU.

The server prints `listening on URL` and runs until Ctrl-C. A profile sets the model and the card (speed, KV cache
size), a personality makes it deviate from a plain vLLM, and --truth logs the exact time of every token. See
docs/simulator.md (`probe init DIR` copies it).

examples:
  probe sim --port 8000
  probe sim --profile rtx3060-qwen2.5-7b-awq --personality sequential --port 8000
"""

import argparse
import asyncio
import errno
import gc
import os
import resource
import signal
import socket
import sys

from aiohttp import web

from probe_ext.exit_codes import ExitCode
from probe_ext.sim.api.app import Server
from probe_ext.sim.faults import FaultError, parse_fault
from probe_ext.sim.metrics.altered_pages import ALTERED
from probe_ext.sim.personality import PersonalityError, parse_personality, personality_names
from probe_ext.sim.profile import ProfileError, load_profile
from probe_ext.sim.profile import profile_names as profile_names  # noqa: PLC0414 - `probe list` shows them
from probe_ext.sim.serving.backend import ServerOptions

LISTEN_BACKLOG = 4096
SHUTDOWN_TIMEOUT_S = 1.0
GC_THRESHOLDS = (50_000, 20, 50)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `probe sim` to a parser."""
    names = ", ".join(profile_names())
    parser.add_argument("--profile", default="demo", help=f"model and card: a YAML file, or one of {names} [demo]")
    parser.add_argument(
        "--personality",
        default="vllm",
        help=f"how the server behaves; one or more, comma-separated, of {', '.join(personality_names())} [vllm]",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on [127.0.0.1]")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0 picks a free one [8000]")
    parser.add_argument("--speed", type=float, default=1.0, help="speed-up factor over the profile's card [1]")
    parser.add_argument("--seed", type=int, default=0, help="random seed of replies and faults [0]")
    parser.add_argument("--truth", metavar="FILE.jsonl", help="log the exact times of every reply to this file")
    parser.add_argument("--api-key-env", metavar="VAR", help="require the API key in this environment variable")
    parser.add_argument(
        "--metrics",
        choices=("on", "off", "slow", "frozen", *ALTERED),
        default="on",
        help="serve /metrics, omit it, answer slowly, or serve a page that is wrong or lacks something [on]",
    )
    parser.add_argument("--model", metavar="NAME", help="served model name (default: the profile's)")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND[:SHARE][@TOKENS][/SECONDS]",
        help="inject faults: 503, error, cut, truncate, stall, or restart:AFTER_S/DOWN_S; can be repeated",
    )


def main(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code: 0, or 2 for an invalid option (one line on stderr)."""
    try:
        asyncio.run(_serve(_options(args), args.host, args.port))
    except (ProfileError, PersonalityError, FaultError, ValueError) as error:
        print(f"probe: {error}", file=sys.stderr)  # noqa: T201 - command-line output
        return ExitCode.USAGE
    except BrokenPipeError:
        raise  # the parent process is gone
    except OSError as error:
        print(f"probe: {error}", file=sys.stderr)  # noqa: T201 - command-line output
        return ExitCode.USAGE
    return ExitCode.OK


def _options(args: argparse.Namespace) -> ServerOptions:
    if not 0 < args.speed < float("inf"):
        raise ValueError(f"--speed: {args.speed} must be greater than 0 and finite")
    if not 0 <= args.port < 65536:
        raise ValueError(f"--port: {args.port} must be between 0 and 65535")
    key = None
    if args.api_key_env:
        key = os.environ.get(args.api_key_env)
        if not key:
            raise ValueError(f"--api-key-env: the environment variable {args.api_key_env} is not set")
    return ServerOptions(
        profile=load_profile(args.profile),
        personality=parse_personality(args.personality),
        speed=args.speed,
        seed=args.seed,
        model=args.model,
        api_key=key,
        metrics=args.metrics,
        truth=args.truth,
        faults=tuple(parse_fault(text) for text in args.fault),
    )


async def _serve(options: ServerOptions, host: str, port: int) -> None:
    _set_open_file_limit(options.personality.open_files)
    _relax_garbage_collection()
    server = Server(options)
    # Handler cancellation: when a client disconnects, its request is aborted in the engine.
    app = server.application()
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=LISTEN_BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise ValueError(_listen_error(host, port, error)) from error
        shown = f"[{host}]" if ":" in host else host
        print(f"listening on http://{shown}:{runner.addresses[0][1]}", flush=True)  # noqa: T201 - callers wait for this line
        await _wait_for_signal()
        server.stop()
    finally:
        await runner.cleanup()


def _listen_error(host: str, port: int, error: OSError) -> str:
    """Say in one line which option is at fault; asyncio's own message is longer and does not name the option."""
    if isinstance(error, socket.gaierror):
        return f"--host {host}: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        return f"--port {port}: already in use; choose another, or 0 to pick a free one"
    option = f"--host {host}" if error.errno == errno.EADDRNOTAVAIL else f"--port {port}"
    return f"{option}: {os.strerror(error.errno or 0)}"


async def _wait_for_signal() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def _relax_garbage_collection() -> None:
    # A full collection over a thousand streams blocks the loop for tens of milliseconds; modules never become garbage.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


_MACOS_OPEN_FILES = 10_240  # its OPEN_MAX


def _set_open_file_limit(limit: int | None) -> None:
    """Set the personality's limit; without one, the largest that is allowed."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit or hard, hard))
    except (ValueError, OSError):  # macOS refuses "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit or _MACOS_OPEN_FILES, hard))
