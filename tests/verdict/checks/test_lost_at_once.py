"""A worker that was lost before its first report started nothing that anybody knows of."""

import pytest
from worlds import CHAT, evidence, manifest, staircase, steady, worker

from probe_ext.verdict.judge import judge


@pytest.mark.parametrize(("lost_at", "valid"), [(0.4, True), (None, False)])
def test_a_worker_killed_in_its_first_second_does_not_spoil_the_run(lost_at: float | None, *, valid: bool) -> None:
    rows = steady(4, 0.0, 60.0)
    silent = {**worker(id="w2", started=None), "lost_at": lost_at, "last_word": False}
    stated = manifest(workers=[worker(started=len(rows)), silent])
    findings = judge(evidence(rows, staircase((4, 60.0)), manifest=stated), CHAT).findings
    accounted = next(finding for finding in findings if finding.check == "accounted")
    assert (accounted.state == "pass") is valid
    assert [finding.check for finding in findings if finding.invalidates and finding.state != "pass"] == (
        [] if valid else ["accounted"]
    )
