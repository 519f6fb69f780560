"""Attacks on real processes: a stranger on the master's port, hostile servers, networks that die.

`make test-attacks` runs these. What needs no processes of its own is tested beside the code, in `make test`. Where
PROBE_FAULTS_FILE names a file, each adds what was sent, recorded and reported.
"""

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Sim


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROBE_SWARM_TOKEN", raising=False)


@pytest.fixture(autouse=True)
def figures(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Record each test's figures for docs/attacks.md."""
    sent: list[int] = []
    served = Sim.served

    def noted(server: Sim, run: Path) -> int:
        sent.append(served(server, run))
        return sent[-1]

    monkeypatch.setattr(Sim, "served", noted)
    yield
    file, run = os.environ.get("PROBE_FAULTS_FILE"), tmp_path / "run"
    if file and (run / "requests.csv").exists():
        manifest = json.loads((run / "run.json").read_text())
        with (run / "requests.csv").open(newline="") as rows:
            recorded = Counter(row["outcome"] for row in csv.DictReader(rows))
        said = [found["why"] for found in manifest["findings"]]
        line = {"test": request.node.name, "sent": sent, "recorded": recorded.total(), "outcomes": recorded}
        with Path(file).open("a") as lines:
            lines.write(json.dumps({**line, "end": manifest["end_reason"], "reported": said}) + "\n")
