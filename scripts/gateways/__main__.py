"""Measure nginx, haproxy, Caddy, LiteLLM's proxy and GuideLLM's mock server; write docs/gateways.md.

    python -m scripts.gateways [--only NAME,…] [--page FILE]

nginx, haproxy and Caddy must be installed; LiteLLM and GuideLLM are installed into environments of their own under
${XDG_CACHE_HOME:-~/.cache}/probe-ext/gateways. Exit code 1 if a stream that a proxy changed counts as complete, or
bytes that were held back went unnoticed; 77 if a proxy is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from probe_ext.client.reply import Reply
from probe_ext.measure.outcome import Outcome
from scripts.gateways.arms import MOCK_SERVER, PROXIES, Arm
from scripts.gateways.measure import PROBE, Arrival, ask, load_test
from scripts.gateways.page import Replayed, outcome_of, page
from scripts.gateways.replay import command
from scripts.gateways.software import MissingError
from scripts.processes import StartError, free_port, running

_ROOT = Path(__file__).parents[2]
_RECORDINGS = _ROOT / "tests" / "fixtures" / "recordings"
_EXIT_SKIPPED = 77
_MODEL = "demo"
_MIN_PER_SEGMENT = 2.0
"""Events per segment from which on a report must say that something bundles them."""


def main() -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="comma-separated names; the page is then printed, not written")
    parser.add_argument("--page", type=Path, default=_ROOT / "docs" / "gateways.md")
    options = parser.parse_args()
    wanted = set(filter(None, options.only.split(",")))
    arms = [arm for arm in PROXIES if not wanted or arm.name in wanted]
    with_mock = not wanted or MOCK_SERVER.name in wanted
    try:
        versions = {arm.name: arm.version() for arm in [*arms, *([MOCK_SERVER] if with_mock else [])]}
    except MissingError as error:
        print(f"make test-gateways: {error}", file=sys.stderr)
        return _EXIT_SKIPPED
    with tempfile.TemporaryDirectory() as scratch:
        loads, recorded, faults = _measure(arms, versions, Path(scratch), with_mock=with_mock)
    text = page(loads, recorded)
    if wanted:
        print(text)
    else:
        options.page.write_text(text, encoding="utf-8")
        print(f"written to {options.page}")
    for fault in faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    return 1 if faults else 0


Loads = dict[tuple[str, str], Arrival]
Recorded = dict[tuple[str, str], Replayed]


def _measure(
    arms: Sequence[Arm], versions: dict[str, str], scratch: Path, *, with_mock: bool
) -> tuple[Loads, Recorded, list[str]]:
    loads: Loads = {}
    recorded: Recorded = {}
    faults: list[str] = []
    sim_port, replay_port = free_port(), free_port()
    sim = [str(PROBE), "sim", "--port", str(sim_port), "--model", _MODEL]
    with running(sim, sim_port, _folder(scratch, "sim"), "/v1/models", 30):
        loads["nothing", "–"] = load_test(sim_port, scratch / "direct")
        for n, arm in enumerate(arms):
            key = (f"{arm.name} {versions[arm.name]}", arm.settings)
            print(*key, flush=True)
            with _started(arm, _folder(scratch, f"arm{n}"), sim_port, faults) as port:
                if port:
                    loads[key] = load_test(port, scratch / f"run{n}")
                    faults += _unnoticed(key, loads[key])
    if with_mock:
        key = (f"{MOCK_SERVER.name} {versions[MOCK_SERVER.name]}", MOCK_SERVER.settings)
        print(*key, flush=True)
        with _started(MOCK_SERVER, _folder(scratch, "mock"), 0, faults) as port:
            if port:
                loads[key] = load_test(port, scratch / "run-mock")
    replay = command(replay_port, _RECORDINGS)
    names = sorted(path.name for path in _RECORDINGS.glob("sse_*.txt"))
    with running(replay, replay_port, _folder(scratch, "replay"), "/", 30):
        direct = {name: ask(replay_port, name) for name in names}
        for n, arm in enumerate(arm for arm in arms if arm.name != "litellm"):
            key = (f"{arm.name} {versions[arm.name]}", arm.settings)
            with _started(arm, _folder(scratch, f"replay{n}"), replay_port, faults) as port:
                if port:
                    recorded[key] = _compared(direct, {name: ask(port, name) for name in names})
                    faults += [f"{key}: {name} is complete, but differs" for name in recorded[key].mistaken]
    return loads, recorded, faults


def _unnoticed(key: tuple[str, str], one: Arrival) -> list[str]:
    """Return a fault if events were put together and no check of the report said so."""
    bundled = one.per_segment is not None and one.per_segment >= _MIN_PER_SEGMENT
    noticed = {"held_back", "unresolved_reads", "not_streamed"} & {*one.said}
    return [f"{key}: {one.per_segment:.1f} events a segment, and nothing said"] if bundled and not noticed else []


def _compared(direct: dict[str, Reply], through: dict[str, Reply]) -> Replayed:
    changed = [name for name, reply in through.items() if outcome_of(reply) != outcome_of(direct[name])]
    waits = [
        after - before
        for name, reply in through.items()
        if (after := reply.ttft) is not None and (before := direct[name].ttft) is not None
    ]
    whole = [name for name, reply in through.items() if _one_burst(reply) and not _one_burst(direct[name])]
    mistaken = [name for name in changed if through[name].outcome is Outcome.COMPLETE]
    return Replayed(changed, mistaken, len(through), statistics.median(waits) if waits else 0.0, len(whole))


def _one_burst(reply: Reply) -> bool:
    return reply.pace is not None and reply.pace.events > 1 and reply.pace.tpot is None


@contextlib.contextmanager
def _started(arm: Arm, folder: Path, upstream: int, faults: list[str]) -> Iterator[int | None]:
    """Yield the port of a started proxy; None, and a fault, if it does not start."""
    port = free_port()
    try:
        with running(arm.command(folder, port, upstream, _MODEL), port, folder, arm.health, arm.start_s):
            yield port
    except StartError as error:
        faults.append(f"{arm.name} ({arm.settings}): {error}")
        yield None


def _folder(scratch: Path, name: str) -> Path:
    folder = scratch / name
    folder.mkdir()
    return folder


if __name__ == "__main__":
    sys.exit(main())
