"""A fake swarm: a master with workers, whose loops follow the world's clock."""

from pathlib import Path
from typing import Any

from swarm_fakes import FakeMaster, FakeRun, FakeWorker, Wire, World, ask, environment

from probe_ext.swarm.master.coordinator import Coordinator
from probe_ext.swarm.users.process_state import ProcessState
from probe_ext.swarm.worker.session import WorkerSession


class Swarm:
    """A master with workers, whose loops follow the world's clock."""

    def __init__(self, world: World, carrier: Wire, tmp_path: Path, workers: int = 3) -> None:
        self.world, self.carrier = world, carrier
        self.master = FakeMaster(carrier)
        self.coordinator = Coordinator(ProcessState(environment(self.master), "master"))
        self.nodes: list[ProcessState] = []
        self.ends: list[WorkerSession] = []
        for k in range(workers):
            runner = FakeWorker(carrier, f"w{k}", self.master)
            runner.environment = environment(runner)
            node = ProcessState(runner.environment, runner.client_id)
            self.nodes.append(node)
            self.ends.append(WorkerSession(node, runner))
            world.every(1.0, lambda k=k: self._flush(k))  # type: ignore[misc]
        world.every(1.0, self.coordinator.tick)
        self.run: Any = FakeRun(world, tmp_path)

    def _flush(self, k: int) -> None:
        """Run one turn of the worker's sending loop."""
        with self.world.on(self.nodes[k].worker):
            self.nodes[k].recorder.flush()
            self.ends[k]._send_due()

    def begin(self) -> None:
        self.run.workers = self.coordinator.workers
        self.coordinator.begin(self.run)

    def replies(self, each: int) -> None:
        """Have every worker finish this many replies, one a second."""
        for _ in range(each):
            for node in self.nodes:
                ask(node.recorder, user=f"{node.worker}:1")
            self.world.sleep(1.0)

    def end(self) -> None:
        self.coordinator.drain()
        self.coordinator.finish()
