"""Do the users of a run pause between a reply and their next request, and for how long?

Where they do, the number of users is that of a team rather than of people who ask again at once, and every sentence
says so. Whether they do is read from each user's own rows: the time from the end of a reply to when the next request
was due. The mean is the idle time of all users in the levels over the requests that were due there, each of which ends
a pause. So pauses that the end of a level cuts short count as well, and those in which a user joins.
"""

from collections.abc import Sequence

import numpy as np

from probe_ext.measure.outcome import Outcome, is_failure
from probe_ext.measure.table_rows import WARM_UP
from probe_ext.verdict.evidence.columns import Bools, Floats, Ints, is_any, numbers
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.levels.level_assignment import LevelAssignment
from probe_ext.verdict.phrasing.formats import percent, seconds
from probe_ext.verdict.phrasing.plurals import Who
from probe_ext.verdict.values.sizing_types import ThinkTime

MIN_PAUSE_S, MIN_PAUSE_SHARE = 0.5, 0.10
"""Shorter pauses, and a smaller part of a user's time, are hardly noticed: "at once" is right then."""
MIN_PAUSES = 5
NOTICED_PAUSE_S, MIN_NOTICED_SHARE = 0.1, 0.2
"""Of a user: fewer requests that follow a noticed pause are stumbles of someone who asks again at once."""
MIN_PAUSING_SHARE, ALL_PAUSE = 0.2, 0.9
"""Of the users, not of the requests: those who pause send few of them."""


def pausing_users(number: Floats, noticed: Floats, paused: Floats, replied: Floats) -> float:
    """Return the share of users who are idle to a relevant part.

    For each user: the requests that followed a reply, those of them after at least NOTICED_PAUSE_S, and the seconds of
    all these pauses and of the replies to these requests. Users without such a request are left out.
    """
    known = number > 0
    pause, reply = paused[known] / number[known], replied[known] / number[known]
    pauses = (pause >= MIN_PAUSE_S) & (pause >= MIN_PAUSE_SHARE * (pause + reply))
    pauses &= noticed[known] >= MIN_NOTICED_SHARE * number[known]
    return float(pauses.mean()) if known.any() else 0.0


def matters(pause: float, reply: float, pausing: float) -> bool:
    """Tell whether people are a team: enough of the users pause, and all users together are idle to a relevant part.

    `pause`, `reply`: mean seconds over all requests; `pausing`: see `pausing_users`.
    """
    return pausing >= MIN_PAUSING_SHARE and pause >= MIN_PAUSE_SHARE * (pause + reply)


def waits_before_next(outcome: str) -> bool:
    """Tell whether the load itself may wait after such a reply, so that a pause after it is nobody's think time."""
    return is_failure(Outcome(outcome))


def think_time(replies: Columns, assignment: LevelAssignment, who: Who = "people") -> ThinkTime | None:
    """Return the mean pause of the users in the levels; None where they ask again at once, or too few did at all."""
    due, end = numbers(replies, "due"), numbers(replies, "end")
    judged = ~is_any(replies, "scenario", {WARM_UP})
    counts = judged & _after_which_pauses_count(replies)
    user, pauses, replied = _own_pauses(due, end, assignment, judged, counts)
    asked = judged & (assignment.level_of >= 0)
    took = (end - due)[asked]
    took = took[~np.isnan(took)]
    if len(pauses) < MIN_PAUSES or not len(took):
        return None
    sums = (np.ones(len(pauses)), pauses >= NOTICED_PAUSE_S, pauses, replied)
    pausing = pausing_users(*(np.bincount(user, weights=each).astype(np.float64) for each in sums))
    at = slice(None) if judged.all() else judged
    mean, reply = _mean_pause(due[at], end[at], assignment.levels, int(asked.sum())), float(took.mean())
    if not matters(mean, reply, pausing):
        return None
    share = reply / (reply + mean)
    return ThinkTime(
        mean=mean,
        pauses=int(asked.sum()),
        reply_seconds=reply,
        waiting_share=share,
        sentence=_say(mean, share, pausing) if who == "people" else _say_of_agents(mean, share),
    )


def _after_which_pauses_count(replies: Columns) -> Bools:
    return is_any(replies, "outcome", {outcome for outcome in Outcome if not waits_before_next(outcome)})


def _own_pauses(
    due: Floats, end: Floats, assignment: LevelAssignment, judged: Bools, counts: Bools
) -> tuple[Ints, Floats, Floats]:
    """Return each user's times from the end of a reply that `counts` to the next request, within a level.

    With the user's code, and the seconds of the reply to that request, 0 where unknown.
    """
    user = assignment.user_of
    rows = np.flatnonzero(judged)
    rows = rows[np.lexsort((due[rows], user[rows]))]
    before, after = rows[:-1], rows[1:]
    counted = (user[after] == user[before]) & (assignment.level_of[after] >= 0) & counts[before]
    counted[counted] = ~np.isnan(due[after[counted]] - end[before[counted]])
    before, after = before[counted], after[counted]
    del rows, counted  # of ten million replies, each of these arrays takes 80 MB
    replied = np.nan_to_num(end[after] - due[after])
    return user[after].astype(np.int64), np.clip(due[after] - end[before], 0.0, None), replied


def _mean_pause(due: Floats, end: Floats, levels: Sequence[Level], pauses: int) -> float:
    """Return the users' idle seconds in the levels for each of so many pauses that ended there."""
    idle = 0.0
    for level in levels:
        overlap = np.minimum(end, level.t_end) - np.maximum(due, level.t_start)
        idle += level.users * level.seconds - float(np.nansum(np.clip(overlap, 0.0, None)))
    return max(0.0, idle / pauses)


def _say_of_agents(mean: float, waiting_share: float) -> str:
    return (
        f"Between a reply and an agent's next request, {seconds(mean)} passed on average, for tools and for new tasks. "
        f"So about {percent(waiting_share)} of the agents waited for a reply at any time. Time for tools does not "
        "count as waiting."
    )


def _say(mean: float, waiting_share: float, pausing: float) -> str:
    some = f" Only about {percent(pausing)} of the users paused; the average is over all requests." * (
        pausing < ALL_PAUSE
    )
    return (
        f"The users of this run paused {seconds(mean)} on average between a reply and the next request, so about "
        f"{percent(waiting_share)} of them had a reply in flight at any time. The number of people is the size of a "
        f"team, as measured, not the number of replies at once.{some}"
    )
