"""Test docker-compose.yml on a Docker engine: `make test-compose`. Without an engine it says so and exits with code 77.

It runs three load tests up to their reports: one from the web UI, with a worker stopped during the run; one headless
with a gate; and, if its image is available, one with Prometheus. Each is a separate Compose project, which is removed
at the end together with its volumes.
"""

import contextlib
import csv
import json
import os
import shutil
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts.containers.expectations import (
    ANY_CODE,
    EXIT_SKIPPED,
    ROOT,
    RUNS_DIR,
    USER,
    CheckFailedError,
    expect,
    output_of,
    succeeds,
    wait_for,
)
from scripts.processes import free_port

KEY = "sk-compose-check-5d1f0c"
PROMETHEUS_IMAGE = os.environ.get("PROMETHEUS_IMAGE", "prom/prometheus:v3.13.3")


class Project:
    """One Compose project, controlled with the installed Compose."""

    def __init__(self, compose: list[str], **settings: str) -> None:
        self.port, self.prometheus_port = free_port(), free_port()
        self.name = f"probe-check-{os.getpid()}"
        self._compose = [*compose, "--project-name", self.name, "--file", str(ROOT / "docker-compose.yml")]
        own = {"PROBE_WEB": f"127.0.0.1:{self.port}", "PROMETHEUS_WEB": f"127.0.0.1:{self.prometheus_port}"}
        self._environment = {**os.environ, **own, "PROBE_API_KEY": KEY, **settings}

    def compose(self, *command: str, codes: Sequence[int] = (0,)) -> str:
        """Run a Compose command and return its output. CheckFailedError if its exit code is none of these."""
        return output_of([*self._compose, *command], codes, self._environment)

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers."""
        return self.compose("ps", "-q", service).split()

    def exec(self, service: str, *command: str) -> str:
        """Run a command in a running container and return its output."""
        return self.compose("exec", "-T", service, *command)

    def get_json(self, path: str, form: dict[str, str] | None = None) -> Any:
        """Fetch a JSON page of the master's web UI; post the form if given."""
        body = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data=body, timeout=60) as answer:
            return json.load(answer)

    def query(self, promql: str) -> float | None:
        """Return the single value of a PromQL query; None if there is none."""
        url = f"http://127.0.0.1:{self.prometheus_port}/api/v1/query?{urllib.parse.urlencode({'query': promql})}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            result = json.load(answer)["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def fetch_runs(self, to: Path) -> list[Path]:
        """Copy the reports out of their volume; return the run directories, oldest first."""
        [master] = self.compose("ps", "-q", "-a", "master", codes=ANY_CODE).split() or self.containers("master")
        output_of(["docker", "cp", f"{master}:{RUNS_DIR}", str(to)])
        return sorted(path.parent for path in to.rglob("run.json"))


def main() -> int:
    """Run all tests in order. Returns 77 if there is no Docker engine."""
    compose = find_compose()
    if isinstance(compose, str):
        print(f"SKIPPED: {compose}; docker-compose.yml was NOT tested", file=sys.stderr)
        return EXIT_SKIPPED
    try:
        test_web_ui(compose)
        test_headless(compose)
        test_prometheus(compose)
    except CheckFailedError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


def find_compose() -> list[str] | str:
    """Return the Compose command, or the reason why none works."""
    if not shutil.which("docker"):
        return "docker is not installed"
    if not succeeds("docker", "version", "--format", "{{.Server.Version}}"):
        return "the Docker engine is not running"
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and succeeds(*command, "version"):
            return command
    return "neither docker compose nor docker-compose is installed"


@contextlib.contextmanager
def project(compose: list[str], **settings: str) -> Iterator[Project]:
    """Create a project and remove it at the end; print its logs if something fails."""
    stack = Project(compose, **settings)
    try:
        yield stack
    except BaseException:
        print(stack.compose("logs", "--tail", "40", codes=ANY_CODE)[-6000:], file=sys.stderr)
        raise
    finally:
        stack.compose("--profile", "prometheus", "down", "--volumes", "--timeout", "60", codes=ANY_CODE)


def test_web_ui(compose: list[str]) -> None:
    """Start six users from the web UI on three workers, stop one worker during the run, and check the report."""
    print("web UI, 3 workers, one of them stopped during the run")
    with project(compose) as stack, tempfile.TemporaryDirectory() as folder:
        stack.compose("up", "--detach", "--build", "--scale", "worker=3")
        wait_for("three workers", lambda: len(stack.get_json("/stats/requests")["workers"]) == 3)
        wait_for("every container to be healthy", lambda: all_healthy(stack))
        expect(
            "user of the containers",
            {stack.exec(s, "id", "-u").strip() for s in ("sim", "master", "worker")},
            {USER},
        )
        stack.get_json("/swarm", {"user_count": "6", "spawn_rate": "6", "host": "http://sim:8000"})
        wait_for("replies", lambda: stack.get_json("/stats/requests")["stats"][-1]["num_requests"] >= 20)
        stopped = stack.containers("worker")[0]
        output_of(["docker", "stop", "--time", "60", stopped])
        before = stack.get_json("/stats/requests")["stats"][-1]["num_requests"]
        wait_for(
            "replies after the stop",
            lambda: stack.get_json("/stats/requests")["stats"][-1]["num_requests"] >= before + 20,
        )
        stack.get_json("/stop", {"": ""})
        wait_for("the report", lambda: "capacity.html" in stack.exec("master", "sh", "-c", f"ls {RUNS_DIR}/*"))
        [run] = stack.fetch_runs(Path(folder))
        manifest = check_counts(run, workers=3)
        expect(
            "the stopped worker in run.json",
            [bool(w["host"] == stopped[:12]) for w in manifest["workers"]].count(True),
            1,
        )
        check_server_count(stack, manifest, run)
        expect("files that contain the API key", files_with_key(Path(folder)), [])
        logs = stack.compose("logs", "--no-color")
        expect("API key in the containers' logs", KEY in logs, False)
        [finding] = [f for f in json.loads((run / "capacity.json").read_text())["findings"] if f["check"] == "workers"]
        expect("report mentions the stopped worker", f"worker {stopped[:12]} left at" in finding["why"].lower(), True)
        print(f"  {finding['why']}")


def test_headless(compose: list[str]) -> None:
    """Run two levels with a gate, as in CI: `up` exits with the master's exit code."""
    print("headless, 2 workers, a gate")
    settings = {"LOCUST_HEADLESS": "1", "LOCUST_EXPECT_WORKERS": "2", "PROBE_LEVELS": "1,2", "PROBE_HOLD": "8s"}
    with project(compose, **settings, PROBE_FAIL_UNDER_USERS="2000") as stack, tempfile.TemporaryDirectory() as folder:
        stack.compose("up", "--scale", "worker=2", "--exit-code-from", "master", codes=(1,))  # of a missed gate
        [run] = stack.fetch_runs(Path(folder))
        check_counts(run, workers=2)
        levels = json.loads((run / "capacity.json").read_text())["levels"]
        expect("levels", [level["users"] for level in levels], [1, 2])


def test_prometheus(compose: list[str]) -> None:
    """Take the server's metrics from Prometheus, which also scrapes the master."""
    if not have_image(PROMETHEUS_IMAGE):
        print(f"SKIPPED: the image {PROMETHEUS_IMAGE} is not available; the profile prometheus was NOT tested")
        return
    print("profile prometheus, 1 worker")
    settings = {"PROBE_PROMETHEUS": "http://prometheus:9090", "PROBE_PROMETHEUS_MATCH": 'job="server"'}
    with (
        project(compose, PROMETHEUS_IMAGE=PROMETHEUS_IMAGE, **settings) as stack,
        tempfile.TemporaryDirectory() as folder,
    ):
        stack.compose("--profile", "prometheus", "up", "--detach", "worker", "prometheus")  # and what they depend on
        wait_for("a worker", lambda: len(stack.get_json("/stats/requests")["workers"]) == 1)
        wait_for("both targets to be scraped", lambda: stack.query('sum(up{server=~"simulated|"})') == 2)
        stack.get_json("/swarm", {"user_count": "2", "spawn_rate": "2", "host": "http://sim:8000"})
        wait_for("replies", lambda: stack.get_json("/stats/requests")["stats"][-1]["num_requests"] >= 10)
        stack.get_json("/stop", {"": ""})
        wait_for("the report", lambda: "capacity.html" in stack.exec("master", "sh", "-c", f"ls {RUNS_DIR}/*"))
        [run] = stack.fetch_runs(Path(folder))
        with (run / "requests.csv").open(newline="") as file:
            rows = sum(1 for _ in csv.DictReader(file))
        wait_for(f"{rows} replies in Prometheus", lambda: stack.query("sum(probe_replies_total)") == rows, seconds=30)
        print(f"  replies in Prometheus: {rows}, the same as rows")
        expect("rows polled from the server", (run / "server.csv").read_text().count("\n") - 1, 0)
        servers = json.loads((run / "server-prometheus.json").read_text())["servers"]
        expect("servers in Prometheus", [server["labels"]["instance"] for server in servers], ["sim:8000"])
        [finding] = [
            f for f in json.loads((run / "capacity.json").read_text())["findings"] if f["check"] == "server_metrics"
        ]
        expect("report names Prometheus as the source", "read from a Prometheus" in finding["why"], True)


def have_image(name: str) -> bool:
    """Return whether an image exists or can be pulled."""
    return succeeds("docker", "image", "inspect", name) or succeeds("docker", "pull", "--quiet", name)


def all_healthy(stack: Project) -> bool:
    """Return whether every container's health check passes."""
    ids = stack.compose("ps", "-q").split()
    command = ["docker", "inspect", "--format", "{{.State.Health.Status}}", *ids]
    states = output_of(command).split()
    return len(states) == 5 and set(states) == {"healthy"}


def check_counts(run: Path, workers: int) -> dict[str, Any]:
    """Check that every worker's started replies and Locust's own counts match the rows; return the manifest."""
    manifest: dict[str, Any] = json.loads((run / "run.json").read_text())
    with (run / "requests.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expect("workers", len(manifest["workers"]), workers)
    for worker in manifest["workers"]:
        recorded = sum(row["worker"] == worker["id"] for row in rows)
        expect(f"replies started by worker {worker['host']}", worker["started"], recorded)
    with (run / "locust_stats.csv").open(newline="") as file:
        [total] = [row for row in csv.DictReader(file) if row["Name"] == "Aggregated"]
    finished = sum(row["outcome"] != "ended_by_us" for row in rows)
    expect("requests in Locust's own table", int(total["Request Count"]), finished)
    verdict = json.loads((run / "capacity.json").read_text())
    expect("invalid verdict", verdict["verdict"] == "invalid", False)
    return manifest


def check_server_count(stack: Project, manifest: dict[str, Any], run: Path) -> None:
    """Check that the server's request count equals the rows plus the warm-up requests."""
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    metrics = stack.exec("sim", "python", "-c", script)
    counted = sum(float(line.split()[-1]) for line in metrics.splitlines() if counts_chat(line))
    with (run / "requests.csv").open(newline="") as file:
        rows = sum(1 for _ in csv.DictReader(file))
    warm = sum(r["requests"] for r in (manifest["warm_up"] or {"rounds": []})["rounds"])
    expect(f"requests counted by the server ({rows} rows, {warm} in the warm-up)", int(counted), rows + warm)


def counts_chat(line: str) -> bool:
    """Return whether a metrics line counts chat completion requests."""
    return line.startswith("http_requests_total") and "/v1/chat/completions" in line


def files_with_key(folder: Path) -> list[str]:
    """Return the files that contain the API key."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


if __name__ == "__main__":
    sys.exit(main())
