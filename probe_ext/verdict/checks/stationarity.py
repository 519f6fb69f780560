"""Was it the server alone that was measured, and did it stay the same server all the time?"""

import ipaddress
import math
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import numpy as np

from probe_ext.verdict.results.slo_metrics import token_windows
from probe_ext.verdict.values.columns import Floats, numbers, texts
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.formats import percent, seconds
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.manifest_view import workers
from probe_ext.verdict.values.plurals import listed

EARLY = 0.2
"""of the first level: its beginning"""
FEWEST_EARLY = 3
"""replies in it that can be compared"""
SLOWER, SLOWER_BY = 2.0, 0.2
"""times, and seconds: the first words of the beginning later than those of the rest by both"""
BLOCK = 10.0
"""seconds of throughput that are looked at together"""
FEWEST_BLOCKS, MOST_BLOCKS = 6, 30
DECLINE = 0.10
"""of the throughput, from a level's beginning to its end"""
CERTAIN = 2.33
"""standard deviations: one level in a hundred without a trend would seem to decline so steadily"""
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


def steady_checks(evidence: Evidence, levels: Sequence[LevelResult]) -> Iterator[Finding]:
    """Load from the server's own machine, warm-up inside the measured part, a decline at constant load."""
    yield _own_machine(evidence)
    yield _warming(evidence, levels)
    yield _decline(evidence, levels)


def _own_machine(evidence: Evidence) -> Finding:
    """Load generator and server side by side take CPU from each other, and no network lies between them."""
    target = evidence.manifest.get("target")
    host = _host(target.get("host")) if isinstance(target, dict) else ""
    if not host:
        return Finding("own_machine", "unproven", False, "Where the server is is not known.")
    ours = {str(worker.get("host") or "").lower() for worker in workers(evidence.manifest)} - {""}
    if not _loopback(host) and host not in ours:
        return Finding("own_machine", "pass", False, f"The server is reached over a network ({host}).")
    why = f"The load came from the server's own machine ({host}): both shared its CPU, and no network lay between them."
    advice = (
        "Put the load generator on another machine, or bear in mind that the server had less CPU than it will have. "
        "If a tunnel or port forwarding leads elsewhere, all is well."
    )
    return Finding("own_machine", "fail", False, why, advice)


def _host(url: object) -> str:
    try:
        return (urlsplit(str(url or "")).hostname or "").lower()
    except ValueError:
        return ""


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in _LOCAL_NAMES or host.endswith(".localhost")


def _warming(evidence: Evidence, levels: Sequence[LevelResult]) -> Finding:
    """What a server pays only once belongs before the first level: there, its beginning must look like its rest."""
    name = "still_warming"
    first = min((level for level in levels if not level.band), key=lambda level: level.t_start, default=None)
    if first is None:
        return Finding(name, "unproven", False, "There is no level whose beginning could be compared with its rest.")
    sent = numbers(evidence.replies, "sent")
    wait = numbers(evidence.replies, "first") - sent
    edge = first.t_start + EARLY * (first.t_end - first.t_start)
    known = ~np.isnan(wait)
    early = wait[known & (sent >= first.t_start) & (sent < edge)]
    rest = wait[known & (sent >= edge) & (sent <= first.t_end)]
    if len(early) < FEWEST_EARLY or len(rest) < FEWEST_EARLY:
        return Finding(name, "unproven", False, "The first level has too few replies to see whether it warmed up.")
    before, after = float(np.median(early)), float(np.median(rest))
    why = f"First words took {seconds(before)} at the beginning of the first level and {seconds(after)} in its rest."
    if before <= SLOWER * after or before - after <= SLOWER_BY:
        return Finding(name, "pass", False, why)
    why += " The server, or the load on it, was still settling inside the measured part."
    advice = "Wake the server up before the run (--warm-up), or leave more out of each level (--settle)."
    return Finding(name, "fail", False, why, advice)


def _decline(evidence: Evidence, levels: Sequence[LevelResult]) -> Finding:
    """Throughput that falls though nothing changes: a machine that gets hot and clocks down, or a leak."""
    name = "steady"
    if "turn" in texts(evidence.replies, "kind"):
        return Finding(name, "unproven", False, "Conversations grow: throughput may fall without the server's doing.")
    tokens = token_windows(evidence.windows)
    fell, looked = [], 0
    for level in levels if tokens is not None else ():
        rates = _rates(tokens, level) if tokens is not None and not level.band else None
        if rates is None:
            continue
        looked += 1
        lost = decline(rates)
        if lost is not None:
            fell.append(f"{percent(lost)} at {level.users:,} users")
    if not looked:
        return Finding(name, "unproven", False, "No level was held for a minute, so no decline could be seen.")
    if not fell:
        return Finding(name, "pass", False, "At constant load the throughput did not fall as time went on.")
    why = f"At constant load the throughput fell as time went on: by {listed(fell)}."
    advice = "Look at the GPU's temperature, clock and power (throttling), and the server's memory; then hold longer."
    return Finding(name, "fail", False, why, advice)


def _rates(tokens: Floats, level: LevelResult) -> Floats | None:
    """Tokens a second in equal blocks of a level's measured part; None where it is too short."""
    count = min(int((level.t_end - level.t_start) / BLOCK), MOST_BLOCKS)
    if count < FEWEST_BLOCKS:
        return None
    start, length, n = tokens.T
    edges = np.linspace(level.t_start, level.t_end, count + 1)
    found, _ = np.histogram(start + length / 2, bins=edges, weights=n)
    return found / np.diff(edges) if found.any() else None


def decline(rates: Floats) -> float | None:
    """The part that was lost from beginning to end, where it is more than DECLINE and no accident; else None.

    How steadily it falls is Kendall's S over all pairs of blocks (H. B. Mann, Econometrica 13, 1945), how much is the
    median slope over all pairs (P. K. Sen, Journal of the American Statistical Association 63, 1968).
    """
    n = len(rates)
    earlier, later = np.triu_indices(n, 1)
    rise = rates[later] - rates[earlier]
    score = float(np.sign(rise).sum())
    spread = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    slope = float(np.median(rise / (later - earlier)))
    middle = float(np.median(rates))
    lost = -slope * (n - 1) / (middle - slope * (n - 1) / 2) if middle > 0 else 0.0
    return lost if lost > DECLINE and (-score - 1) / spread > CERTAIN else None
