"""Users who pause by --think-time, on two workers: for as long as the seed says."""

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from probe_ext.access.prompt_source import user_number
from probe_ext.workload.think_times import ThinkTimes
from tests.e2e.conftest import finished, locust, start
from tests.in_process_sim import running_sim

MEAN, SEED, USERS, WORKERS = 0.5, 5, 6, 2
EARLY_S = 0.02  # by which a pause may end before its time, as clocks are compared


def test_users_pause_for_as_long_as_the_seed_says(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--processes", str(WORKERS), "-u", str(USERS), "-r", str(USERS), "-t", "12s", "--max-tokens", "4"]
    with running_sim(speed=10.0) as sim:
        line = locust(sim.url, out, *options, "--think-time", f"{MEAN}s", "--prompt-seed", str(SEED))
        run = finished(start(line), out)
    assert run.code == 0, run.said
    assert run.manifest["options"]["think_time"] == MEAN
    pauses = pauses_of(run.rows())
    assert len(pauses) == USERS
    users = {number: found for found in pauses.values() for number in [closest(found)]}
    assert len(users) == USERS, "each pauses by draws of its own"
    for number, found in users.items():
        assert len(found) > 3
        assert all(pause > meant - EARLY_S for pause, meant in zip(found, drawn(number), strict=False))


def pauses_of(rows: list[dict[str, str]]) -> dict[str, list[float]]:
    """Return the seconds from the end of each reply of a user to the next request."""
    by_user: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        by_user[row["user"]].append((float(row["due"]), float(row["end"])))
    return {
        user: [after[0] - before[1] for before, after in pairwise(sorted(times))] for user, times in by_user.items()
    }


def closest(found: list[float]) -> int:
    """Return the number of the user whose draws are most like these pauses."""
    numbers = [user_number(worker, user) for worker in range(WORKERS) for user in range(2 * USERS)]
    return min(numbers, key=lambda number: sum(abs(a - b) for a, b in zip(found, drawn(number), strict=False)))


def drawn(number: int) -> list[float]:
    """Return a user's draws; the first is the pause that it joins in the middle of."""
    times = ThinkTimes(MEAN, SEED, number)
    return [times.next() for _ in range(1000)][1:]
