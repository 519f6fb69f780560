"""A queue with known properties: users who think and then ask, and a few slots that answer in turn."""

import heapq
from random import Random

from worlds import reply

from probe_ext.measure.table_rows import ReplyRow

THINK, SERVICE, SLOTS = 4.0, 0.5, 3
"""Mean seconds, both exponential; replies at once."""


def queue_run(levels: tuple[int, ...], hold: float, seed: int) -> list[ReplyRow]:
    """Return the replies of a run that holds each number of users, rising, for `hold` seconds."""
    random = Random(seed)
    rows: list[ReplyRow] = []
    asks: list[tuple[float, int]] = []
    free = [0.0] * SLOTS
    for step, users in enumerate(levels):
        for user in range(len(asks), users):
            heapq.heappush(asks, (step * hold + random.expovariate(1 / THINK), user))
        while asks[0][0] < (step + 1) * hold:
            at, user = heapq.heappop(asks)
            start = max(at, heapq.heappop(free))
            done = start + random.expovariate(1 / SERVICE)
            heapq.heappush(free, done)
            rows.append(reply(user, at, first=start + 0.01))
            heapq.heappush(asks, (done + random.expovariate(1 / THINK), user))
    return rows
