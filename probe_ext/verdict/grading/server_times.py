"""Which of the times that a server sends with its replies can be true?"""

import numpy as np

from probe_ext.verdict.evidence.columns import Floats, numbers
from probe_ext.verdict.evidence.evidence import Columns

MAX_TIME_APART_S = 0.01
"""By which the server's first token may come later than ours, for clocks that are read at other moments."""


def possible_ttft(replies: Columns) -> Floats:
    """Return the time to first token at the server, in seconds; NaN where it is not known, or longer than ours."""
    at_server = numbers(replies, "server_ttft")
    ours = numbers(replies, "first") - numbers(replies, "sent")
    return np.where(at_server > ours + MAX_TIME_APART_S, np.nan, at_server)
