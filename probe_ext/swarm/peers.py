"""The workers that a master knows."""

from dataclasses import dataclass, field

from probe_ext.swarm import axis


@dataclass
class Peer:
    """A worker as the master knows it."""

    id: str
    offset: axis.Offset | None = None
    host: str = ""
    version: str = ""
    drained: int | None = None
    """the number of its last batch, once it has said so"""
    lost_at: float | None = None
    left_at: float | None = None
    """when it gave its last word, where the run went on without it"""
    looks: int = 0
    """how often the master has looked after it"""


@dataclass
class Peers:
    """All workers that ever joined, by id."""

    known: dict[str, Peer] = field(default_factory=dict)

    def join(self, worker: str) -> Peer:
        """A worker says hello, perhaps again."""
        return self.known.setdefault(worker, Peer(worker))
