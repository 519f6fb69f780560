"""A run beside another one on a server with eight slots, and a run whose users keep no connection."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import BIN, CAPACITY, PATIENCE, end, finished, locust, replies, start, wait_for


@pytest.mark.long
def test_a_run_beside_another_one_is_invalid_and_says_why(sim: str, tmp_path: Path) -> None:
    """The other one has 12 users, on the demo server's 8 slots."""
    other = start(locust(sim, tmp_path / "other", "--levels", "12", "--hold", "60s"))
    try:
        wait_for(lambda: replies(tmp_path / "other") > 12, "the other run never began")
        out = tmp_path / "run"
        line = [str(BIN / "probe"), "run", str(CAPACITY), "--host", sim, "--out", str(out), "--levels", "2"]
        line += ["--hold", "12s", "--settle", "3s", "--fail-under-users", "2", "--warm-up", "off"]
        run = finished(start(line), out)
    finally:
        end(other)
        other.wait(PATIENCE)
    assert run.code == 3, run.said
    capacity = json.loads((out / "capacity.json").read_text())
    assert capacity["verdict"] == "invalid"
    assert capacity["sentence"].startswith("Invalid measurement: Others used the server")
    assert capacity["levels"][0]["reasons"] == ["other_load"]
    assert capacity["levels"][0]["others"]["requests"] > 0.5
    assert capacity["diagnosis"]["bounds"] == ["other_load"]
    before, _, after = run.said.partition("level 1 of 1")
    assert "probe: others are using the server: " in before
    assert "probe: others are using the server at 2 users: at least " in after
    assert "gate: at least 2 users served: unproven, the run is invalid" in run.said
    assert 'name="the run is valid">\n    <failure message="other load: ' in (out / "junit.xml").read_text()


@pytest.mark.long
def test_every_request_has_a_connection_of_its_own(sim: str, tmp_path: Path) -> None:
    kept = finished(start(locust(sim, tmp_path / "kept", "-u", "2", "-r", "2", "-t", "6s")), tmp_path / "kept")
    new = finished(
        start(locust(sim, tmp_path / "new", "-u", "2", "-r", "2", "-t", "6s", "--reconnect")), tmp_path / "new"
    )
    assert sum(bool(row["connect"]) for row in kept.rows()) == 2
    assert len(new.rows()) > 2
    assert all(row["connect"] for row in new.rows())
