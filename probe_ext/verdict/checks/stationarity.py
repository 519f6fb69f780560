"""Was only the server measured, and did it perform the same all the time?"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from probe_ext.measure.findings import FindingName
from probe_ext.verdict.evidence.columns import Floats, is_any, numbers
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.shared_machine import server_address, shares_machine
from probe_ext.verdict.phrasing.formats import percent, seconds
from probe_ext.verdict.phrasing.plurals import listed, things
from probe_ext.verdict.results.slo_metrics import token_windows
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.level_result import LevelResult

EARLY_SHARE = 0.2
"""Part of the first level that is compared with its rest."""
MIN_EARLY_REPLIES = 3
MIN_SLOWDOWN, MIN_SLOWDOWN_S = 2.0, 0.2
"""First words of the early part that are later by both the factor and the seconds are a warning."""
BLOCK_S = 10.0
"""Seconds of throughput that are averaged."""
MIN_BLOCKS, MAX_BLOCKS = 6, 30
MAX_DECLINE = 0.10
"""Of the throughput, from the start of a level to its end."""
MIN_SIGMA = 2.33
"""Standard deviations; without a trend, one level in a hundred declines so steadily by chance."""


def steady_checks(evidence: Evidence, levels: Sequence[LevelResult]) -> Iterator[Finding]:
    """Yield the checks of a shared machine, a warm-up inside the measured part, and a decline at constant load."""
    yield _own_machine(evidence)
    yield _warming(evidence, levels)
    yield _decline(evidence, levels)


def _own_machine(evidence: Evidence) -> Finding:
    """A load generator on the server's machine takes CPU from it and bypasses the network."""
    host = server_address(evidence.manifest)
    if not host:
        return Finding("own_machine", "unproven", False, "The address of the server is not known.")
    if not shares_machine(evidence.manifest):
        return Finding("own_machine", "pass", False, f"The server was reached over a network ({host}).")
    why = f"The load generator ran on the server's machine ({host}): they shared its CPU, and no network was involved."
    advice = (
        "Run the load generator on another machine, or keep in mind that the server had less CPU than in production. "
        "Ignore this if the address is a tunnel or port forwarding to another machine."
    )
    return Finding("own_machine", "fail", False, why, advice)


def _warming(evidence: Evidence, levels: Sequence[LevelResult]) -> Finding:
    """One-time costs of the server belong before the first level, whose start must therefore look like its rest."""
    name: FindingName = "still_warming"
    first = min((level for level in levels if not level.band), key=lambda level: level.t_start, default=None)
    if first is None:
        return Finding(name, "unproven", False, "No level was measured whose start could be compared with its rest.")
    sent = numbers(evidence.replies, "sent")
    wait = numbers(evidence.replies, "first") - sent
    early_end = first.t_start + EARLY_SHARE * (first.t_end - first.t_start)
    known = ~np.isnan(wait)
    early = wait[known & (sent >= first.t_start) & (sent < early_end)]
    rest = wait[known & (sent >= early_end) & (sent <= first.t_end)]
    if len(early) < MIN_EARLY_REPLIES or len(rest) < MIN_EARLY_REPLIES:
        return Finding(name, "unproven", False, "The first level has too few replies to detect a warm-up.")
    before, after = float(np.median(early)), float(np.median(rest))
    why = f"The median first word took {seconds(before)} at the start of the first level and {seconds(after)} later on."
    if before <= MIN_SLOWDOWN * after or before - after <= MIN_SLOWDOWN_S:
        return Finding(name, "pass", False, why)
    why += " The server was still warming up inside the measured part."
    advice = "Warm the server up before the run (--warm-up), or exclude more of each level (--settle)."
    return Finding(name, "fail", False, why, advice)


def _decline(evidence: Evidence, levels: Sequence[LevelResult]) -> Finding:
    """Throughput that falls at constant load: thermal throttling, or a leak."""
    name: FindingName = "steady"
    if is_any(evidence.replies, "kind", {"turn"}).any():
        return Finding(
            name, "unproven", False, "Conversations get longer, so throughput may fall for that reason alone."
        )
    tokens = token_windows(evidence.windows)
    declines, compared = [], 0
    for level in levels if tokens is not None else ():
        rates = _rates(tokens, level) if tokens is not None and not level.band else None
        if rates is None:
            continue
        compared += 1
        lost = decline(rates)
        if lost is not None:
            declines.append(f"{percent(lost)} at {things(level.users, 'user')}")
    if not compared:
        return Finding(name, "unproven", False, "No level was held for a minute, too short to see a decline.")
    if not declines:
        return Finding(name, "pass", False, "Throughput stayed steady at constant load.")
    why = f"Throughput fell at constant load: by {listed(declines)}."
    advice = (
        "Check the GPU's temperature, clock and power (throttling) and the server's memory; then hold levels longer."
    )
    return Finding(name, "fail", False, why, advice)


def _rates(tokens: Floats, level: LevelResult) -> Floats | None:
    """Return tokens per second in equal blocks of a level's measured part; None where it is too short."""
    count = min(int((level.t_end - level.t_start) / BLOCK_S), MAX_BLOCKS)
    if count < MIN_BLOCKS:
        return None
    start, length, n = tokens.T
    edges = np.linspace(level.t_start, level.t_end, count + 1)
    found, _ = np.histogram(start + length / 2, bins=edges, weights=n)
    return found / np.diff(edges) if found.any() else None


def decline(rates: Floats) -> float | None:
    """Return the share of throughput lost from start to end, if it is more than MAX_DECLINE and significant.

    Significance by Kendall's S over all pairs of blocks (H. B. Mann, Econometrica 13, 1945), size by the median slope
    over all pairs (P. K. Sen, Journal of the American Statistical Association 63, 1968).
    """
    n = len(rates)
    earlier, later = np.triu_indices(n, 1)
    rise = rates[later] - rates[earlier]
    score = float(np.sign(rise).sum())
    spread = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    slope = float(np.median(rise / (later - earlier)))
    middle = float(np.median(rates))
    lost = -slope * (n - 1) / (middle - slope * (n - 1) / 2) if middle > 0 else 0.0
    return lost if lost > MAX_DECLINE and (-score - 1) / spread > MIN_SIGMA else None
