"""TTFT by prompt length: a prompt is read before its first token is generated, so long prompts wait for themselves.

Prompts are classed by powers of two of their length. The level with the fewest users is taken that has enough replies:
at higher ones, prompts wait for those of others, whatever their own length.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from probe_ext.verdict.evidence.columns import Floats, Ints, numbers
from probe_ext.verdict.evidence.evidence import Columns, percentile, quantile
from probe_ext.verdict.levels.level_assignment import LevelAssignment
from probe_ext.verdict.values.level_result import LengthClass, TtftByLength

MIN_REPLIES = 5
"""of a class; those with fewer are left out"""


def ttft_by_length(replies: Columns, assignment: LevelAssignment, counted: Sequence[Ints]) -> TtftByLength | None:
    """Return the classes; None where no level has enough replies of prompts of different lengths.

    `counted`: rows of each level's judged replies.
    """
    tokens, waited = numbers(replies, "tokens_in"), numbers(replies, "first") - numbers(replies, "sent")
    known = (tokens > 0) & (waited >= 0)
    judged = [index for index in range(len(assignment.levels)) if assignment.is_judged(index)]
    for index in sorted(judged, key=lambda index: assignment.levels[index].users):
        rows = counted[index][known[counted[index]]]
        classes = tuple(_classes(tokens[rows], waited[rows], numbers(replies, "tokens_cached")[rows]))
        if len(classes) > 1:
            return TtftByLength(assignment.levels[index].users, classes)
    return None


def _classes(tokens: Floats, waited: Floats, cached: Floats) -> Iterator[LengthClass]:
    exponents: Ints = np.log2(tokens).astype(np.int64)
    for exponent in np.unique(exponents).tolist():
        inside = exponents == exponent
        if inside.sum() < MIN_REPLIES:
            continue
        found = cached[inside]
        counted = ~np.isnan(found)
        yield LengthClass(
            tokens_from=int(tokens[inside].min()),
            tokens_to=int(tokens[inside].max()),
            replies=int(inside.sum()),
            ttft_p50=float(quantile(waited[inside], 0.5) or 0.0),
            ttft_p95=percentile(waited[inside], "p95"),
            cached_share=float(found[counted].sum() / tokens[inside][counted].sum()) if counted.any() else None,
        )
