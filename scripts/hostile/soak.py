"""Run for an hour under a server that turns between all its tricks, with a stranger on the master's port.

python -m scripts.hostile.soak --minutes 60 --out reports/runs/soak-hostile

Each request names its trick and carries an id, so three counts can be compared for every trick: the ids that the server
got, the rows of requests.csv, and the outcomes that such a reply may have. Memory is sampled every ten seconds and
judged as memory.py says.

Writes OUT/soak.csv (second, process, MiB, CPU seconds) and OUT/soak.json, and prints a summary. The exit code is 1 if
a count or an outcome differs, if a process's memory grew, if no reply ended for a minute, if the end took longer than
--end seconds, or if the API key is in any file.
"""

import argparse
import contextlib
import csv
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from probe_ext.exit_codes import ExitCode
from probe_ext.measure.outcome import Outcome
from scripts.hostile.memory import judge_memory
from scripts.hostile.tricks import NOT_CONNECTED, TRICKS
from scripts.process_usage import usage
from scripts.processes import free_port, kill, started
from scripts.swarm.soak import Sample
from tests.attacks.stranger import say_everything, stranger

HERE = Path(__file__).parent
PROBE = Path(sys.executable).with_name("probe")
WORKERS = 2
SAMPLE_INTERVAL_S = 10.0
MAX_QUIET_S = 60.0
LIMITS = ("--timeout-connect", "3s", "--timeout-first", "3s", "--timeout-gap", "2s", "--timeout-total", "6s")


class Course:
    """What is seen while the run goes on."""

    def __init__(self) -> None:
        self.began = _now()
        self.samples: list[Sample] = []
        self.quiet = 0.0
        """longest time without a new row, in seconds"""
        self.heard = 0
        """how often the stranger spoke"""


def main() -> int:
    """Run server, master and workers; compare what each of them counted."""
    parser = argparse.ArgumentParser(prog="python -m scripts.hostile.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="duration of the run [60]")
    parser.add_argument("--users", type=int, default=16, help="number of users [16]")
    parser.add_argument("--think", type=float, default=4.0, help="seconds between a user's requests [4]")
    parser.add_argument("--end", type=float, default=60.0, help="maximum seconds from the run time to the report [60]")
    parser.add_argument("--out", type=Path, default=Path("reports/runs/soak-hostile"), help="run directory")
    args = parser.parse_args()
    key, course = f"sk-{secrets.token_hex()}", Course()
    with _hostile() as host:
        code, said = _run(args, host, key, course)
        with urllib.request.urlopen(f"{host}/fired") as answer:  # noqa: S310 - our own server on loopback
            fired = json.load(answer)
    took = _now() - course.began
    summary, faults = _compare(args.out, fired, course)
    faults += [f"exit code {code}"] * (
        code not in {ExitCode.OK, ExitCode.INVALID}
    )  # such a run may call itself invalid
    faults += [f"no reply ended for {course.quiet:.0f} s"] * (course.quiet > MAX_QUIET_S)
    faults += [f"the end took {took - 60 * args.minutes:.0f} s"] * (took - 60 * args.minutes > args.end + 60)
    memory, grown = judge_memory(course.samples)
    faults += grown
    faults += [f"the key is in {path.name}" for path in args.out.rglob("*") if key.encode() in path.read_bytes()]
    faults += ["the key is in the output"] * (key in said)
    summary = {"minutes": args.minutes, "seconds": round(took), "faults": faults, **summary, "memory": memory}
    (args.out / "soak.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(said[-3000:])
    print(json.dumps(summary, indent=1))
    return int(bool(faults))


@contextlib.contextmanager
def _hostile() -> Iterator[str]:
    with started(sys.executable, "-m", "scripts.hostile.server") as (_, line):
        yield line.rpartition(" ")[2].strip()


def _run(args: argparse.Namespace, host: str, key: str, course: Course) -> tuple[int, str]:
    """Start master and workers and watch them until the run is over; return the master's exit code and its output."""
    port = str(free_port())
    environment = {**os.environ, "PROBE_API_KEY": key, "PROBE_THINK": str(args.think)}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    master = [PROBE, "run", HERE / "asking.py", "--host", host, "--model", "m", "--out", args.out, "--force", *LIMITS]
    master += ["-u", args.users, "-r", "4", "-t", f"{int(60 * args.minutes)}s", "--drain", "15s", "--warm-up", "off"]
    master += ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--expect-workers", WORKERS]
    worker = [PROBE, "worker", HERE / "asking.py", "--master-host", "127.0.0.1", "--master-port", port]
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out.with_name(f"{args.out.name}.log")
    with log.open("w") as output, contextlib.ExitStack() as processes:
        how: dict[str, Any] = {"env": environment, "stdout": output, "stderr": subprocess.STDOUT}
        named = {"master": subprocess.Popen([str(part) for part in master], **how)}
        named |= {f"worker {n + 1}": subprocess.Popen([str(part) for part in worker], **how) for n in range(WORKERS)}
        for process in named.values():
            processes.callback(kill, process)
        _watch(args, named, port, course)
        for process in named.values():
            process.wait(60)
    return named["master"].returncode, log.read_text(errors="replace")


def _watch(args: argparse.Namespace, named: dict[str, subprocess.Popen[bytes]], port: str, course: Course) -> None:
    """Sample memory, count new rows and let the stranger speak, until the master has ended or is past its time."""
    rows, last_new, course.began = args.out / "requests.csv", _now(), _now()
    size = 0
    while named["master"].poll() is None and _now() - course.began < 60 * args.minutes + args.end + 60:
        at = round(_now() - course.began, 1)
        used = [(name, usage(process.pid)) for name, process in named.items()]
        course.samples += [(at, name, round(each.rss, 2), each.cpu) for name, each in used if each]
        with (args.out / "soak.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("t", "process", "rss_mib", "cpu_seconds"), *course.samples])
        if rows.exists() and rows.stat().st_size != size and at < 60 * args.minutes:
            size, last_new = rows.stat().st_size, _now()
        elif at < 60 * args.minutes:
            course.quiet = max(course.quiet, _now() - last_new)
        _disturb(args.out, port, course)
        time.sleep(SAMPLE_INTERVAL_S)


def _disturb(out: Path, port: str, course: Course) -> None:
    """Say everything, as a stranger and on a second connection in a worker's name."""
    try:
        manifest = json.loads((out / "run.json").read_text())
        run, worker = manifest["run_id"], manifest["workers"][0]["id"]
    except (OSError, ValueError, LookupError):
        return
    for name in ("stranger", worker):
        with stranger(port, name) as peer:
            say_everything(peer, run, worker)
    course.heard += 1


def _compare(out: Path, fired: dict[str, Any], course: Course) -> tuple[dict[str, Any], list[str]]:
    """Return what was counted, and each contradiction."""
    with (out / "requests.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        outcomes[row["scenario"]][row["outcome"]] += 1
    workers = json.loads((out / "run.json").read_text())["workers"]
    started = sum(worker["started"] for worker in workers)
    ids = len({row["reply_id"] for row in rows})
    faults = [f"{started} started, {len(rows)} rows, {ids} ids"] * (not started == len(rows) == ids)
    asked: dict[str, int] = fired["asked"]
    for trick in sorted({*asked, *outcomes, *TRICKS}):
        counted = sum(n for outcome, n in outcomes[trick].items() if outcome not in NOT_CONNECTED)
        if asked.get(trick, 0) != counted or not counted:
            faults.append(f"{trick}: the server was asked {asked.get(trick, 0)} times, {counted} rows")
        expected = {*TRICKS[trick].outcomes, *NOT_CONNECTED, Outcome.ENDED_BY_US}
        unexpected = {outcome: n for outcome, n in outcomes[trick].items() if outcome not in expected}
        if unexpected:
            faults.append(f"{trick}: {unexpected}, expected {sorted(TRICKS[trick].outcomes)}")
    unconnected = sum(counts[outcome] for counts in outcomes.values() for outcome in NOT_CONNECTED)
    if unconnected > len(rows) / 100:
        faults.append(f"{unconnected} of {len(rows)} rows without a connection")
    summary = {
        "fired": sum(asked.values()),
        "counted": len(rows),
        "outcomes": dict(Counter(row["outcome"] for row in rows).most_common()),
        "tricks": {trick: dict(outcomes[trick]) for trick in TRICKS},
        "metrics_tricks": fired["control"],
        "stranger_spoke": course.heard,
        "longest_quiet_seconds": round(course.quiet),
    }
    return summary, faults


def _now() -> float:
    return time.monotonic()  # noqa: TID251 - a script outside the package


if __name__ == "__main__":
    sys.exit(main())
