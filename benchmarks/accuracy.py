"""How far token times lie from the truth: calm and busy, plain and over TLS, with the kernel's times and without."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import native, ours
from benchmarks.truth import read_truth, token_error

CASES = [
    (streams, tls, nice, stamps)
    for streams in (100, 400)
    for tls, nice, stamps in (
        (False, None, True),
        (True, None, True),
        (False, None, False),
        (False, 0, True),
        (True, 0, True),
    )
]
"""streams, TLS, niceness of the process that keeps each core busy (None: none does), kernel times"""


def measure(seconds: float) -> list[dict[str, Any]]:
    """A row for each case; those over TLS are left out where this machine cannot make a certificate."""
    cases = [case for case in CASES if not case[1] or native.certificate()]
    return [_case(*case, seconds) for case in cases]


def _case(streams: int, tls: bool, nice: int | None, stamps: bool, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        truth = Path(folder) / "truth"
        cores = () if nice is None else (native.CLIENT_CORE, native.SERVER_CORE)
        with native.server(tls=tls, truth=truth) as server, native.busy(cores, nice or 0):
            run = ours.run(server, ours.Load(streams, seconds), book=True, stamps=stamps)
        assert run.book is not None
        error = token_error(run.book, read_truth(truth))
    said = {"streams": streams, "tls": tls, "nice": nice, "stamps": stamps}
    return (
        said | asdict(error) | {"unresolved": run.unresolved, "lag_p99": run.lag_p99, "broken": int(run.book["broken"])}
    )
