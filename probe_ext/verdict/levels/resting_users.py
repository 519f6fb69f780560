"""Which users were there in a level although they sent nothing in it: they paused throughout.

A run's rows tell who asked, not who was there. So of the users without a row in a level, as many are taken as the
level had users beside those who asked, since a user may also have left and come back: first those who asked both before
and after it, then those who only asked before, then those who only asked after; each by the fewest requests that they
would have sent meanwhile at their own rate in the run.
"""

import numpy as np

from probe_ext.verdict.evidence.columns import Codes, Floats, Ints


def resting_users(user: Codes, sent: Floats, end: Floats, span: tuple[float, float], users: int) -> Ints:
    """Return the codes of users who rested in a level of so many users.

    `user`: codes from 0 on, of each reply of the run; `sent`, `end`: seconds, NaN where unknown.
    """
    start, until = span
    number = int(user.max()) + 1 if len(user) else 0
    left, back = np.full(number, -np.inf), np.full(number, np.inf)
    ended = np.where(np.isnan(end), sent, end)
    before, after = sent < start, sent > until
    np.maximum.at(left, user[before], ended[before])
    np.minimum.at(back, user[after], sent[after])
    asked = np.zeros(number, dtype=np.bool_)
    asked[user[(sent >= start) & (sent <= until)]] = True
    free = int(users) - int(asked.sum())
    if free <= 0:
        return np.empty(0, dtype=np.int64)
    knows_left, knows_back = np.isfinite(left), np.isfinite(back)
    candidates = np.flatnonzero(~asked & (knows_left | knows_back))
    order = np.where(knows_left & knows_back, 0, np.where(knows_left, 1, 2))[candidates]
    gap = np.where(knows_back, back, until)[candidates] - np.where(knows_left, left, start)[candidates]
    missed = gap * np.bincount(user, minlength=number)[candidates]
    return candidates[np.lexsort((missed, order))][:free]
