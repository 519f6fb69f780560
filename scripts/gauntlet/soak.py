"""``make gauntlet-soak``: the gauntlet for two hours, with a master, four workers and an outage at its full scale.

python -m scripts.gauntlet.soak --minutes 120 --rate 3
python -m scripts.gauntlet.soak --page reports/runs/gauntlet-soak

A simulated server restarts after a quarter of the run and answers 503 for a 24th of it: at two hours, that is five
minutes in a rolling window of 15. Memory and CPU time of all processes are appended to OUT/soak.csv every ten seconds,
so an unfinished run can be looked at, too. Afterwards, `probe report` is timed, and what the server was asked is
compared with the rows and with the workers' own counts. The second command repeats the comparison and the page without
a new run. Writes OUT/soak.json, reports/gauntlet/soak.json and reports/gauntlet/soak.md. The exit code is 1 if a count
differs, a process's memory or CPU time grew, or the report took longer than a minute.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from scripts.gauntlet.page import page
from scripts.gauntlet.published import published_beside
from scripts.gauntlet.soak_page import evaluate, soak_page
from scripts.process_usage import usage
from scripts.processes import PROBE, free_port, kill, simulator

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "reports" / "gauntlet"
PROFILE, WORKERS = "a100-moe-35b-int4", 4
WINDOW_SHARE, OUTAGE_FROM, OUTAGE_SHARE = 1 / 8, 1 / 4, 1 / 24
SAMPLE_INTERVAL_S = 10.0
_WITH_REPORT = (0, 3)
"""exit codes of `probe report`: a valid and an invalid run"""
STARTUP_S = 60.0
"""time for the processes to start and to end their last replies, beside the hold itself"""


def main() -> int:
    """Run the soak unless its files are there already; judge it and write the page."""
    parser = argparse.ArgumentParser(prog="python -m scripts.gauntlet.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120, help="duration of the stream [120]")
    parser.add_argument("--rate", type=float, default=3.0, help="requests per second [3]")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "runs" / "gauntlet-soak", help="run directory")
    parser.add_argument("--page", type=Path, metavar="RUN", help="judge this finished run, without a new one")
    parser.add_argument("--pages", type=Path, default=PAGES, help="where to write the page [reports/gauntlet]")
    args = parser.parse_args()
    out = (args.page or args.out).resolve()
    if not args.page:
        _soak(out, args.minutes, args.rate)
    if not (out / "report_time.json").exists():
        _time_report(out)
    summary = evaluate(out)
    for file in (out / "soak.json", args.pages / "soak.json"):
        file.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (args.pages / "soak.md").write_text(soak_page(summary), encoding="utf-8")
    if args.pages == PAGES:  # whose first page has a figure of this one
        figures = json.loads((PAGES / "gauntlet.json").read_text(encoding="utf-8"))
        (PAGES / "README.md").write_text(page(figures, published_beside(figures)), encoding="utf-8")
    print(args.pages / "soak.md", *summary["faults"], sep="\n")
    return int(bool(summary["faults"]))


def _soak(out: Path, minutes: float, rate: float) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    hold = 60 * minutes
    fault = f"restart:{OUTAGE_FROM * hold:g}/{OUTAGE_SHARE * hold:g}"
    with contextlib.ExitStack() as processes:
        truth = out / "server_truth.jsonl"
        options = ("--profile", PROFILE, "--fault", fault, "--truth", str(truth))
        server, url = processes.enter_context(simulator(*options))
        named = _swarm(out, url, hold, rate, processes)
        (out / "soak_plan.json").write_text(json.dumps({"minutes": minutes, "rate": rate, "fault": fault}) + "\n")
        _sample(out / "soak.csv", {"server": server, **named}, hold)
        for process in named.values():
            process.wait(STARTUP_S)
        with urllib.request.urlopen(f"{url}/metrics") as answer:  # noqa: S310 - our own server on loopback
            (out / "server_metrics.txt").write_bytes(answer.read())
        server.send_signal(signal.SIGINT)
        server.wait(STARTUP_S)


def _swarm(
    out: Path, url: str, hold: float, rate: float, processes: contextlib.ExitStack
) -> dict[str, "subprocess.Popen[Any]"]:
    port = str(free_port())
    stream = ["--rate", f"{rate:g}", "--hold", f"{hold:g}s", "--window", f"{WINDOW_SHARE * hold:g}s"]
    swarm = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port]
    master = [*PROBE, "run", "gauntlet", "--host", url, *stream, *swarm, "--expect-workers", str(WORKERS)]
    worker = [*PROBE, "worker", "--master-host", "127.0.0.1", "--master-port", port]
    # Workers keep a copy of their rows; it belongs beside the run, not into the directory that the script started in.
    where: dict[str, Any] = {"cwd": out, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "stderr": subprocess.STDOUT}
    log = processes.enter_context((out / "soak.log").open("wb"))
    run_options = ["--warm-up", "off", "--no-report", "--out", str(out), "--force"]
    named = {"master": subprocess.Popen([*master, *run_options], stdout=log, **where)}
    named |= {f"worker {n + 1}": subprocess.Popen(worker, stdout=log, **where) for n in range(WORKERS)}
    for process in named.values():
        processes.callback(kill, process)
    return named


def _sample(file: Path, named: dict[str, "subprocess.Popen[Any]"], hold: float) -> None:
    """Append memory and CPU time of all processes to a file until the master has ended."""
    began = _now()
    with file.open("w", encoding="utf-8", buffering=1) as samples:
        samples.write("t,process,rss_mib,cpu_seconds\n")
        while named["master"].poll() is None:
            t = _now() - began
            if t > hold + 5 * STARTUP_S:
                raise RuntimeError(f"the run did not end {5 * STARTUP_S:.0f} s after its stream")
            for name, process in named.items():
                if used := usage(process.pid):
                    samples.write(f"{t:.1f},{name},{used.rss:.2f},{used.cpu:.2f}\n")
            time.sleep(SAMPLE_INTERVAL_S)


def _time_report(out: Path) -> None:
    """Time `probe report` as a user would run it; the machine's other load is part of the wall time.

    RuntimeError if there is no report.
    """
    before, began = os.times(), _now()
    done = subprocess.run([*PROBE, "report", str(out), "--quiet"], check=False)
    wall, after = _now() - began, os.times()
    if done.returncode not in _WITH_REPORT:
        raise RuntimeError(f"probe report: exit code {done.returncode}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    (out / "report_time.json").write_text(json.dumps({"wall_s": round(wall, 1), "cpu_s": round(cpu, 1)}) + "\n")


def _now() -> float:
    return time.monotonic()  # noqa: TID251 - a script outside the package


if __name__ == "__main__":
    sys.exit(main())
