"""Accuracy of token times: on a calm and a busy machine, without and with TLS, with and without kernel timestamps."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import native, probe_run
from benchmarks.truth import read_truth, token_error

CASES = [
    (streams, tls, nice, timestamps)
    for streams in (100, 400)
    for tls, nice, timestamps in (
        (False, None, True),
        (True, None, True),
        (False, None, False),
        (False, 0, True),
        (True, 0, True),
    )
]
"""Streams, TLS, niceness of the process that keeps each core busy (None: there is none), kernel timestamps."""


def measure(seconds: float, turns: int) -> list[list[dict[str, Any]]]:
    """Measure all cases in turn; return the turns of each. Without a certificate, those with TLS are skipped."""
    cases = [case for case in CASES if not case[1] or native.certificate()]
    by_turn = [[_measure_case(*case, seconds) for case in cases] for _ in range(turns)]
    return [list(of_case) for of_case in zip(*by_turn, strict=True)]


def _measure_case(streams: int, tls: bool, nice: int | None, timestamps: bool, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        truth = Path(folder) / "truth"
        cores = () if nice is None else (native.CLIENT_CORE, native.SERVER_CORE)
        with native.server(tls=tls, truth=truth) as server, native.busy(cores, nice or 0):
            run = probe_run.run(server, probe_run.Load(streams, seconds), token_log=True, timestamps=timestamps)
        assert run.token_log is not None
        error = token_error(run.token_log, read_truth(truth))
    case = {"streams": streams, "tls": tls, "nice": nice, "timestamps": timestamps, "path": run.reading_path}
    return (
        case
        | asdict(error)
        | {"unresolved": run.unresolved, "lag_p99": run.lag_p99, "broken": int(run.token_log["broken"])}
    )
