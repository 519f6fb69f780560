"""docker-compose.yml for real: `make test-compose`. Needs a Docker engine; without one it says so and stops there.

Load tests up to their reports: one from the web UI with a worker stopped in mid-run, one headless with a gate and,
where the image can be had, one that a Prometheus watches. Each is a Compose project of its own, taken down at the
end, volumes included.
"""

import contextlib
import csv
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NOT_HERE = 77
KEY = "sk-compose-check-5d1f0c"
RUNS = "/work/reports/runs"
PROMETHEUS = os.environ.get("PROMETHEUS_IMAGE", "prom/prometheus:v3.13.3")


class WrongError(Exception):
    """Something is not as it should be; the message says what."""


class Project:
    """One Compose project, reached through whichever Compose there is."""

    def __init__(self, compose: list[str], **settings: str) -> None:
        self.port, self.prometheus_port = free_port(), free_port()
        self.name = f"probe-check-{os.getpid()}"
        self._compose = [*compose, "--project-name", self.name, "--file", str(ROOT / "docker-compose.yml")]
        own = {"PROBE_WEB": f"127.0.0.1:{self.port}", "PROMETHEUS_WEB": f"127.0.0.1:{self.prometheus_port}"}
        self._environment = {**os.environ, **own, "PROBE_API_KEY": KEY, **settings}

    def compose(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a Compose command, its output kept."""
        done = subprocess.run(
            [*self._compose, *command], env=self._environment, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise WrongError(f"{' '.join(command)}: exit code {done.returncode}: {(done.stderr + done.stdout)[-800:]}")
        return done

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers."""
        return self.compose("ps", "-q", service).stdout.split()

    def inside(self, service: str, *command: str) -> str:
        """What a command prints in a running container."""
        return self.compose("exec", "-T", service, *command).stdout

    def page(self, path: str, form: dict[str, str] | None = None) -> Any:
        """A page of the master's web UI, as JSON."""
        body = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data=body, timeout=60) as answer:
            return json.load(answer)

    def asked(self, query: str) -> float | None:
        """The single value of a PromQL query; None where there is none."""
        url = f"http://127.0.0.1:{self.prometheus_port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = json.load(answer)["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    def fetch_runs(self, to: Path) -> list[Path]:
        """Copy the report folder out of its volume; the runs in it, oldest first."""
        [master] = self.compose("ps", "-q", "-a", "master", check=False).stdout.split() or self.containers("master")
        subprocess.run(["docker", "cp", f"{master}:{RUNS}", str(to)], check=True, capture_output=True)
        return sorted(path.parent for path in to.rglob("run.json"))


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def main() -> int:
    """Everything, in order; 77 where there is no engine."""
    compose = find_compose()
    if isinstance(compose, str):
        print(f"SKIPPED: {compose}; docker-compose.yml was NOT tried", file=sys.stderr)
        return NOT_HERE
    try:
        by_hand(compose)
        headless(compose)
        with_prometheus(compose)
    except WrongError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


def find_compose() -> list[str] | str:
    """The Compose command, or why there is none that works."""
    if not shutil.which("docker"):
        return "no docker command here"
    if not works("docker", "version", "--format", "{{.Server.Version}}"):
        return "no Docker engine answers"
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and works(*command, "version"):
            return command
    return "neither docker compose nor docker-compose here"


def works(*command: str) -> bool:
    """Whether a command ends well."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def project(compose: list[str], **settings: str) -> Iterator[Project]:
    """A project that is taken down at the end; what its containers said is shown when something went wrong."""
    one = Project(compose, **settings)
    try:
        yield one
    except BaseException:
        print(one.compose("logs", "--tail", "40", check=False).stdout[-6000:], file=sys.stderr)
        raise
    finally:
        one.compose("--profile", "prometheus", "down", "--volumes", "--timeout", "60", check=False)


def until(what: str, holds: Callable[[], Any], seconds: float = 180.0) -> Any:
    """Wait for a condition; WrongError when it does not come."""
    end = time.monotonic() + seconds  # noqa: TID251 - a script of the developers, outside the package
    while time.monotonic() < end:  # noqa: TID251 - as above
        with contextlib.suppress(urllib.error.URLError, http.client.HTTPException, OSError, ValueError):
            if found := holds():
                return found
        time.sleep(0.5)
    raise WrongError(f"waited {seconds:.0f} s in vain for {what}")


def expect(what: str, found: object, wanted: object) -> None:
    """Say what was found, and stop where it is not what was wanted."""
    if found != wanted:
        raise WrongError(f"{what}: {found!r}, not {wanted!r}")
    print(f"  {what}: {found}")


def by_hand(compose: list[str]) -> None:
    """Six users set in the web UI, three workers, one stopped in mid-run, the report read."""
    print("web UI, 3 workers, one of them stopped in mid-run")
    with project(compose) as one, tempfile.TemporaryDirectory() as folder:
        one.compose("up", "--detach", "--build", "--scale", "worker=3")
        until("three workers", lambda: len(one.page("/stats/requests")["workers"]) == 3)
        until("every container to be well", lambda: all_well(one))
        expect(
            "user of the containers",
            {one.inside(s, "id", "-u").strip() for s in ("sim", "master", "worker")},
            {"10001"},
        )
        one.page("/swarm", {"user_count": "6", "spawn_rate": "6", "host": "http://sim:8000"})
        until("replies", lambda: one.page("/stats/requests")["stats"][-1]["num_requests"] >= 20)
        gone = one.containers("worker")[0]
        subprocess.run(["docker", "stop", "--time", "60", gone], check=True, capture_output=True)
        seen = one.page("/stats/requests")["stats"][-1]["num_requests"]
        until("replies after it", lambda: one.page("/stats/requests")["stats"][-1]["num_requests"] >= seen + 20)
        one.page("/stop", {"": ""})
        until("the report", lambda: "capacity.html" in one.inside("master", "sh", "-c", f"ls {RUNS}/*"))
        [run] = one.fetch_runs(Path(folder))
        manifest = check_account(run, workers=3)
        expect(
            "the stopped worker in run.json", [bool(w["host"] == gone[:12]) for w in manifest["workers"]].count(True), 1
        )
        check_server_count(one, manifest, run)
        expect("files with the API key in them", with_key(Path(folder)), [])
        said = one.compose("logs", "--no-color").stdout
        expect("API key in the containers' logs", KEY in said, False)
        [told] = [f for f in json.loads((run / "capacity.json").read_text())["findings"] if f["check"] == "workers"]
        expect("what the report says of it", f"worker {gone[:12]} left at" in told["why"].lower(), True)
        print(f"  {told['why']}")


def headless(compose: list[str]) -> None:
    """Two levels and a gate, as CI would have it: the exit code of `up` is the master's."""
    print("headless, 2 workers, a gate")
    settings = {"LOCUST_HEADLESS": "1", "LOCUST_EXPECT_WORKERS": "2", "PROBE_LEVELS": "1,2", "PROBE_HOLD": "8s"}
    with project(compose, **settings, PROBE_FAIL_UNDER_USERS="2000") as one, tempfile.TemporaryDirectory() as folder:
        done = one.compose("up", "--scale", "worker=2", "--exit-code-from", "master", check=False)
        expect("exit code of a gate that is missed", done.returncode, 1)
        [run] = one.fetch_runs(Path(folder))
        check_account(run, workers=2)
        levels = json.loads((run / "capacity.json").read_text())["levels"]
        expect("levels", [level["users"] for level in levels], [1, 2])


def with_prometheus(compose: list[str]) -> None:
    """The server's figures from the profile's Prometheus, and the master's own ones there too."""
    if not have_image(PROMETHEUS):
        print(f"LEFT OUT: no image {PROMETHEUS} here, and none could be pulled: profile prometheus was NOT tried")
        return
    print("profile prometheus, 1 worker")
    read_there = {"PROBE_PROMETHEUS": "http://prometheus:9090", "PROBE_PROMETHEUS_MATCH": 'job="server"'}
    with project(compose, PROMETHEUS_IMAGE=PROMETHEUS, **read_there) as one, tempfile.TemporaryDirectory() as folder:
        one.compose("--profile", "prometheus", "up", "--detach")
        until("a worker", lambda: len(one.page("/stats/requests")["workers"]) == 1)
        until("both targets to be scraped", lambda: one.asked('sum(up{server=~"simulated|"})') == 2)
        one.page("/swarm", {"user_count": "2", "spawn_rate": "2", "host": "http://sim:8000"})
        until("replies", lambda: one.page("/stats/requests")["stats"][-1]["num_requests"] >= 10)
        one.page("/stop", {"": ""})
        until("the report", lambda: "capacity.html" in one.inside("master", "sh", "-c", f"ls {RUNS}/*"))
        [run] = one.fetch_runs(Path(folder))
        with (run / "requests.csv").open(newline="") as file:
            rows = sum(1 for _ in csv.DictReader(file))
        until(f"{rows} replies in Prometheus", lambda: one.asked("sum(probe_replies_total)") == rows, seconds=30)
        print(f"  replies of the master that Prometheus has: {rows}, as many as rows")
        expect("rows that were polled", (run / "server.csv").read_text().count("\n") - 1, 0)
        told = json.loads((run / "server-prometheus.json").read_text())["servers"]
        expect("servers that Prometheus told of", [one["labels"]["instance"] for one in told], ["sim:8000"])
        [finding] = [
            f for f in json.loads((run / "capacity.json").read_text())["findings"] if f["check"] == "server_metrics"
        ]
        expect("what the report says of it", finding["why"].startswith("A Prometheus told"), True)


def have_image(name: str) -> bool:
    """Whether the engine has an image, or can get it."""
    return works("docker", "image", "inspect", name) or works("docker", "pull", "--quiet", name)


def all_well(one: Project) -> bool:
    """Whether every container's health check passes."""
    ids = one.compose("ps", "-q").stdout.split()
    asked = ["docker", "inspect", "--format", "{{.State.Health.Status}}", *ids]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    return len(told) == 5 and set(told) == {"healthy"}


def check_account(run: Path, workers: int) -> dict[str, Any]:
    """started = rows for every worker, and Locust's count is ours; the manifest."""
    manifest: dict[str, Any] = json.loads((run / "run.json").read_text())
    with (run / "requests.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expect("workers", len(manifest["workers"]), workers)
    for worker in manifest["workers"]:
        mine = sum(row["worker"] == worker["id"] for row in rows)
        expect(f"rows of worker {worker['host']}, fired and counted", (worker["started"], mine), (mine, mine))
    with (run / "locust_stats.csv").open(newline="") as file:
        [total] = [row for row in csv.DictReader(file) if row["Name"] == "Aggregated"]
    finished = sum(row["outcome"] != "ended_by_us" for row in rows)
    expect("requests in Locust's own table", int(total["Request Count"]), finished)
    verdict = json.loads((run / "capacity.json").read_text())
    expect("verdict not to be believed", verdict["verdict"] == "invalid", False)
    return manifest


def check_server_count(one: Project, manifest: dict[str, Any], run: Path) -> None:
    """The server's own count of requests is ours: rows, and the warm-up before the run."""
    text = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    metrics = one.inside("sim", "python", "-c", text)
    counted = sum(float(line.split()[-1]) for line in metrics.splitlines() if is_chat(line))
    with (run / "requests.csv").open(newline="") as file:
        rows = sum(1 for _ in csv.DictReader(file))
    warm = sum(r["requests"] for r in (manifest["warm_up"] or {"rounds": []})["rounds"])
    expect(f"requests that the server counted ({rows} rows, {warm} of the warm-up)", int(counted), rows + warm)


def is_chat(line: str) -> bool:
    """Whether a line of the metrics counts requests for chats."""
    return line.startswith("http_requests_total") and "/v1/chat/completions" in line


def with_key(folder: Path) -> list[str]:
    """Files that hold the API key."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


if __name__ == "__main__":
    sys.exit(main())
