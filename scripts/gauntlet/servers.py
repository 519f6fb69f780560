"""The servers of the gauntlet: simulated, each on a port of its own."""

import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from scripts.processes import PROBE, free_port

PROFILES = Path(__file__).parents[1] / "seed_comparisons" / "servers"
TUNED, UNTUNED, HOT = PROFILES / "a100-gptq.yaml", PROFILES / "a100-fp8.yaml", PROFILES / "a100-hot.yaml"


_SAME_NAME = ("--model", "qwen3.5-35b-a3b")
"""clients need not know which quantization is served"""


@dataclass(frozen=True)
class Arm:
    """One server, by the options of `probe sim`."""

    name: str
    profile: Path
    options: tuple[str, ...] = ()
    becomes: Path | None = None
    """profile that it is switched to in mid-run, with an outage in between"""

    def simulator(self, port: int, profile: Path | None = None) -> list[str]:
        """Return the arguments of `probe` that start it, with another profile than its own if one is given."""
        return ["sim", "--port", str(port), *_SAME_NAME, *self.options, "--profile", str(profile or self.profile)]


ARMS = (
    Arm("tuned", TUNED),
    Arm("untuned", UNTUNED),
    Arm("switched", UNTUNED, becomes=TUNED),
    Arm("throttling", HOT, ("--personality", "hot-gpu")),
    Arm("response cache", TUNED, ("--personality", "response-cache")),
    Arm("first token only", TUNED, ("--personality", "first-token")),
)
COLD = Arm("cold", TUNED, ("--personality", "cold-start"))
HUNG = Arm("hung", TUNED)


@dataclass
class Server:
    """A running server. `stop` and `start` may be repeated; its port stays."""

    arm: Arm
    port: int = field(default_factory=free_port)
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, profile: Path | None = None) -> None:
        """Start it, with another profile than its arm's if one is given; return once it listens."""
        command = [*PROBE, *self.arm.simulator(self.port, profile)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        first = self._process.stdout.readline() if self._process.stdout else b""
        if b"listening" not in first:
            raise RuntimeError(f"{self.arm.name}: the simulated server did not start")

    def stop(self) -> None:
        """End it; nothing happens if it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self, *, frozen: bool) -> None:
        """Make it hang, or go on: frozen, it takes connections and answers nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)
