"""Does the load generator keep up so far? By the checks of the report, on what is known while the run goes on."""

from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.sketch import LatencySketch
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.verdict.checks.accounting import client_faults
from probe_ext.verdict.checks.client_accuracy import lasting_faults, late_starts, loop_lag, receive_lag, worker_cpu


class GeneratorCheck:
    """Takes all replies of a run."""

    def __init__(self) -> None:
        self.trouble = ""
        """why it does not keep up, and what helps, in sentences; empty if it does, or before anything is known"""
        self._late = LatencySketch()
        self._replies = self._faults = 0

    def add(self, rows: Sequence[ReplyRow]) -> None:
        """Add finished replies."""
        self._late.add(max(0.0, row.late) for row in rows if row.late is not None)
        self._replies += len(rows)
        self._faults += sum(Outcome(row.outcome) is Outcome.CLIENT_ERROR for row in rows)

    def update(self, manifest: Mapping[str, Any], lag: LatencySketch, overdue: LatencySketch) -> None:
        """Judge anew.

        `manifest`: `target`, `workers` and `duration` as `run.json` would have them now; `lag`, `overdue`: of all reads
        so far.
        """
        faults = lasting_faults(
            [
                receive_lag(lag.quantile(0.99), overdue.quantile(0.99), manifest),
                late_starts(self._late.quantile(0.99), manifest),
                worker_cpu(manifest),
                loop_lag(manifest),
                client_faults(self._faults, self._replies),
            ]
        )
        why = " ".join(fault.why for fault in faults)
        self.trouble = f"The load generator does not keep up: {why} {faults[0].advice}" if faults else ""
