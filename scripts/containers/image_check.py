"""Build the image and start it in all its roles: `make image-check`.

The engine is Docker or Podman, whichever runs, else the exit code is 77; CONTAINER_ENGINE names one. Both Dockerfiles
are built: the one of a checkout, and the one that `probe init` writes, from the wheel in dist/. PYTHON_IMAGE replaces
their base image. Every container is started as docker-compose.yml starts it, and as the image's own user: read-only,
without capabilities.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scripts.containers.expectations import (
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

CONFINED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]  # noqa: S108
HEALTH = ["python", "/opt/probe/health.py"]
LOAD = ["--host", "http://127.0.0.1:8000", "--levels", "1,2", "--hold", "4s", "--settle", "1s", "--max-tokens", "16"]


def main() -> int:
    """Check both images. Returns 77 if there is no engine."""
    engine = find_engine()
    if engine is None:
        print("SKIPPED: neither Docker nor Podman runs here; the image was NOT tested", file=sys.stderr)
        return EXIT_SKIPPED
    try:
        with tempfile.TemporaryDirectory(prefix="probe-image-") as name:
            folders = {"probe-ext-check": ROOT, "probe-ext-check-wheel": starter_folder(Path(name))}
            for image, folder in folders.items():
                print(f"{engine}: {image}, from {folder / 'Dockerfile'}", flush=True)
                check_image(Engine(engine), image, folder)
    except CheckFailedError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


def find_engine() -> str | None:
    """Return the name of an engine that runs."""
    for name in filter(None, (os.environ.get("CONTAINER_ENGINE"), "docker", "podman")):
        if shutil.which(name) and succeeds(name, "info"):
            return name
    return None


def starter_folder(parent: Path) -> Path:
    """Return what `probe init` writes, with the wheel of dist/ beside it."""
    folder = parent / "starter"
    subprocess.run(
        [sys.executable, "-m", "probe_ext", "init", str(folder)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    wheels = sorted((ROOT / "dist").glob("probe_ext-*.whl"), key=lambda wheel: wheel.stat().st_mtime)
    if not wheels:
        raise CheckFailedError("no wheel in dist/; run `make wheel` first")
    shutil.copy(wheels[-1], folder)
    return folder


class Engine:
    """Runs commands of a container engine."""

    def __init__(self, program: str) -> None:
        self._program = program

    def __call__(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        """Return what a command prints. Raises CheckFailedError if it ends with another exit code than these."""
        return output_of([self._program, *arguments], codes).strip()

    def build(self, image: str, folder: Path) -> None:
        """Build an image from the Dockerfile of a folder."""
        base = os.environ.get("PYTHON_IMAGE")
        chosen = ["--build-arg", f"PYTHON_IMAGE={base}"] if base else []
        self("build", *chosen, "--tag", image, str(folder))

    def run(self, image: str, *command: str, options: tuple[str, ...] = (), codes: tuple[int, ...] = (0,)) -> str:
        """Run a command in a new container and return what it prints."""
        return self("run", "--rm", *CONFINED, *options, image, *command, codes=codes)

    @contextlib.contextmanager
    def started(self, image: str, *command: str, options: tuple[str, ...] = ()) -> Iterator[str]:
        """Keep a container running in the background; yield its id."""
        container = self("run", "--detach", *CONFINED, *options, image, *command)
        try:
            yield container
        except CheckFailedError:
            print(self("logs", container)[-3000:], file=sys.stderr)
            raise
        finally:
            self("rm", "--force", "--volumes", container)


def check_image(engine: Engine, image: str, folder: Path) -> None:
    """Build an image and check it in every role. Raises CheckFailedError."""
    engine.build(image, folder)
    check_contents(engine, image, folder)
    with engine.started(image, "probe", "sim", "--profile", "demo") as server:
        await_health(engine, server, "http://127.0.0.1:8000/health")
        beside = ("--network", f"container:{server}")
        check_run(engine, image, beside)
        check_swarm(engine, image, beside)


def check_contents(engine: Engine, image: str, folder: Path) -> None:
    """Check the user, the version, what can be written, and that nothing of the build is left."""
    expect("user", engine.run(image, "id", "-u"), USER)
    version = (ROOT / "probe_ext" / "__init__.py").read_text(encoding="utf-8").split('__version__ = "')[1].split('"')[0]
    expect("version", version in engine.run(image, "probe", "--version"), True)
    expect("options alone reach Locust", "locust" in engine.run(image, "--help").splitlines()[0], True)
    script = "for p in /srv/probe /opt/probe /etc {runs}; do touch $p/x 2>/dev/null && echo $p; done; true"
    expect("writable folders", engine.run(image, "sh", "-c", script.format(runs=RUNS_DIR)), RUNS_DIR)
    left = engine.run(image, "sh", "-c", "for p in gcc pip; do command -v $p; done; ls -d /opt/probe/bin/pip*; true")
    expect("left of the build", left, "")
    path = "from probe_ext.client.wire.native.native_extension import reading_path; print(reading_path())"
    if folder == ROOT:  # the wheel may be the one without a C extension
        expect("sockets are read by", engine.run(image, "python", "-c", path), "native")


def check_run(engine: Engine, image: str, network: tuple[str, ...]) -> None:
    """Run a load test into a folder of this machine, as its user."""
    with tempfile.TemporaryDirectory(prefix="probe-image-") as name:
        owner = f"{os.getuid()}:{os.getgid()}"
        options = (*network, "--volume", f"{name}:{RUNS_DIR}", "--user", owner)
        engine.run(image, "probe", "run", "capacity", *LOAD, "--out", f"{RUNS_DIR}/checked", options=options)
        check_report("probe run", Path(name) / "checked")


def check_swarm(engine: Engine, image: str, network: tuple[str, ...]) -> None:
    """Run a master and a worker as docker-compose.yml does, with the health checks that it names."""
    headless = ["--headless", "--expect-workers", "1", "--out", f"{RUNS_DIR}/swarm"]
    master_line = ["locust", "-f", "locustfiles/capacity.py", "--master", *headless, *LOAD]
    with engine.started(image, *master_line, options=network) as master:
        await_health(engine, master, "listening", "5557")
        with engine.started(image, "probe", "worker", "--master-host", "127.0.0.1", options=network) as worker:
            await_health(engine, worker, "joined", "5557")
            expect("exit code of the master", engine("wait", master), "0")
        with tempfile.TemporaryDirectory(prefix="probe-image-") as name:
            engine("cp", f"{master}:{RUNS_DIR}/swarm", name)
            check_report("master and worker", Path(name) / "swarm")


def check_report(what: str, run: Path) -> None:
    """Check that a run measured both levels and has its page."""
    capacity = json.loads((run / "capacity.json").read_text(encoding="utf-8"))
    expect(f"{what}: levels", [level["users"] for level in capacity["levels"][:2]], [1, 2])
    expect(f"{what}: invalid", capacity["verdict"] == "invalid", False)
    expect(f"{what}: page", (run / "capacity.html").exists(), True)
    print(f"  {what}: {capacity['sentence']}")


def await_health(engine: Engine, container: str, *check: str) -> None:
    """Wait until a health check passes in a container. Raises CheckFailedError after a minute."""
    what = f"health check {' '.join(check)}"
    wait_for(what, lambda: engine("exec", container, *HEALTH, *check) or True, 60)
    print(f"  {what} passes")


if __name__ == "__main__":
    sys.exit(main())
