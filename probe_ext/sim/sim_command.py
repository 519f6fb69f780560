"""A simulated vLLM-like server: OpenAI's API and vLLM's metrics, to try a load test on, without a GPU.

It prints `listening on URL` and serves until Ctrl-C. A profile says how fast the card and how large the KV cache is; a
personality, in what it differs from vLLM; --truth keeps what really happened. More: docs/simulator.md.

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
from probe_ext.sim.backend import Options
from probe_ext.sim.faults import FaultError, parse_fault
from probe_ext.sim.personality import PersonalityError, parse_personality, personality_names
from probe_ext.sim.profile import ProfileError, load_profile
from probe_ext.sim.profile import profile_names as profile_names  # noqa: PLC0414 - part of this module's face

BACKLOG = 4096
GRACE_S = 1.0
COLLECT_AFTER = (50_000, 20, 50)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the simulator's options to a parser."""
    parser.add_argument("--profile", default="demo", help=f"a YAML file, or one of {', '.join(profile_names())}")
    parser.add_argument("--personality", default="vllm", help=f"joined by commas: {', '.join(personality_names())}")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0 takes any free one")
    parser.add_argument("--speed", type=float, default=1.0, help="how many times faster than the profile's card")
    parser.add_argument("--seed", type=int, default=0, help="seed of the answers and faults")
    parser.add_argument("--truth", metavar="FILE.jsonl", help="record what really happened, one line a reply")
    parser.add_argument("--api-key-env", metavar="VAR", help="environment variable with the key to ask for")
    parser.add_argument("--metrics", choices=("on", "off", "slow"), default="on", help="how /metrics answers")
    parser.add_argument("--model", metavar="NAME", help="served model name; the profile's if left out")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND[:SHARE][@TOKENS][/SECONDS]",
        help="503, error, cut, truncate, stall or restart:AFTER_S/DOWN_S; may be given several times",
    )


def main(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code: 0, or 2 for wrong usage (one line on standard error)."""
    try:
        asyncio.run(_serve(_options(args), args.host, args.port))
    except (ProfileError, PersonalityError, FaultError, ValueError) as error:
        print(f"probe: {error}", file=sys.stderr)  # noqa: T201 - a command speaks to its user
        return ExitCode.USAGE
    except BrokenPipeError:
        raise  # whoever started it has gone
    except OSError as error:
        print(f"probe: {error}", file=sys.stderr)  # noqa: T201 - as above
        return ExitCode.USAGE
    return ExitCode.OK


def _options(args: argparse.Namespace) -> Options:
    if not 0 < args.speed < float("inf"):
        raise ValueError(f"--speed: {args.speed} must be above 0")
    if not 0 <= args.port < 65536:
        raise ValueError(f"--port: {args.port} must be 0 to 65535")
    key = None
    if args.api_key_env:
        key = os.environ.get(args.api_key_env)
        if not key:
            raise ValueError(f"--api-key-env: {args.api_key_env} is not set in the environment")
    return Options(
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


async def _serve(options: Options, host: str, port: int) -> None:
    _raise_open_file_limit()
    _collect_seldom()
    server = Server(options)
    # A client that goes away cancels its handler, which frees its place in the engine.
    runner = web.AppRunner(server.application(), handler_cancellation=True, access_log=None, shutdown_timeout=GRACE_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise ValueError(_why_not(host, port, error)) from error
        shown = f"[{host}]" if ":" in host else host
        print(f"listening on http://{shown}:{runner.addresses[0][1]}", flush=True)  # noqa: T201 - whoever started it waits for this line
        await _told_to_end()
        server.stop()
    finally:
        await runner.cleanup()


def _why_not(host: str, port: int, error: OSError) -> str:
    """Why nothing can listen there; asyncio puts the address into its own words."""
    if isinstance(error, socket.gaierror):
        return f"--host {host}: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        return f"--port {port}: in use; take another, or 0 for any free one"
    option = f"--host {host}" if error.errno == errno.EADDRNOTAVAIL else f"--port {port}"
    return f"{option}: {os.strerror(error.errno or 0)}"


async def _told_to_end() -> None:
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    await end.wait()


def _collect_seldom() -> None:
    # A full collection over a thousand streams holds the loop for tens of milliseconds; what was imported never dies.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _raise_open_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
