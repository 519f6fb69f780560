"""Into how many blocks of time a level is cut for resampling."""

import numpy as np

BLOCKS = 4
"""blocks of a level at least"""
MOST_BLOCKS = 400
REPLIES_A_BLOCK = 3
"""of each user, about"""


def natural_blocks(replies: int, people: int) -> float:
    """How many blocks of about three replies a user there are."""
    return replies / (people * REPLIES_A_BLOCK)


def block_count(replies: int, people: int) -> int:
    """The same as a number to cut by: at least BLOCKS, so that there is something to draw from."""
    return int(np.clip(round(natural_blocks(replies, people)), BLOCKS, MOST_BLOCKS))
