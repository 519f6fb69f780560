"""Which kind the next user is of, and which worker runs it: by the shares, whatever came before.

Locust's own dispatcher goes on in its sequence when users come back after some have left, so that a level's second
visit has another mix than its first. Here the next user follows from those that are there; the last that came is the
first that leaves; and so a number of users always has the same mix, on any number of workers.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

from locust.dispatch import UsersDispatcher

DISPATCH = "probe_dispatch"
"""attribute of Locust's options under which workers learn how users are dispatched"""


def next_kind(counts: Mapping[str, int], weights: Mapping[str, float], fixed: Mapping[str, int]) -> str | None:
    """Return the name of the next user's class: those with a fixed number first, then by the weights.

    The rule is Sainte-Laguë's, as for the seats of a parliament: each kind comes as close to its share as it can.
    """
    missing = [name for name, number in fixed.items() if counts.get(name, 0) < number]
    if missing:
        return min(missing, key=lambda name: (counts.get(name, 0) + 0.5) / fixed[name])
    wanted = [name for name, weight in weights.items() if weight > 0]
    return min(wanted, key=lambda name: (counts.get(name, 0) + 0.5) / weights[name]) if wanted else None


def mix_of(users: int, weights: Mapping[str, float], fixed: Mapping[str, int]) -> dict[str, int]:
    """Return how many users of each class a number of users consists of."""
    counts: Counter[str] = Counter()
    for _ in range(users):
        name = next_kind(counts, weights, fixed)
        if name is None:
            break
        counts[name] += 1
    return {name: counts[name] for name in (*fixed, *weights)}


def users_number(place: int, kind: int, worker: int, workers: int) -> int:
    """Return the number among all users of its kind of the one at a place on a worker. `kind`, `worker`: their places.

    The first user of the first kind runs on the first worker, the first of the second kind on the second, and so on.
    """
    return place * workers + (worker - kind) % workers


class KindDispatcher(UsersDispatcher):
    """Dispatches users of several kinds. `announce` is called with what workers need to number their users."""

    def __init__(
        self, announce: Callable[[dict[str, Any]], None], worker_nodes: list[Any], user_classes: Sequence[Any]
    ):
        self._announce, self._epoch = announce, 0
        self._order = [kind.__name__ for kind in user_classes]
        super().__init__(worker_nodes=worker_nodes, user_classes=user_classes)
        self._tell()

    def add_worker(self, worker_node: Any) -> None:
        """Share all users among the workers anew; their numbers change, too."""
        super().add_worker(worker_node)
        self._epoch += 1
        self._tell()

    def remove_worker(self, worker_node: Any) -> None:
        """Share all users among the workers that are left."""
        super().remove_worker(worker_node)
        self._epoch += 1
        self._tell()

    def _tell(self) -> None:
        self._announce({"workers": [node.id for node in self._worker_nodes], "epoch": self._epoch})

    def _place_next(self, users_on_workers: dict[str, dict[str, int]], counts: Counter[str]) -> tuple[Any, str] | None:
        """Add the next user to the workers' counts and to all; None if there is none to add."""
        classes = {kind.__name__: kind for kind in self._user_classes}
        weights = {name: classes[name].weight for name in self._order if not classes[name].fixed_count}
        fixed = {name: classes[name].fixed_count for name in self._order if classes[name].fixed_count}
        name = next_kind(counts, weights, fixed)
        if name is None:
            return None
        node = self._worker_nodes[(counts[name] + self._order.index(name)) % len(self._worker_nodes)]
        users_on_workers[node.id][name] += 1
        counts[name] += 1
        return node, name

    def _add_users_on_workers(self) -> dict[str, dict[str, int]]:
        target = min(self._current_user_count + self._user_count_per_dispatch_iteration, self._target_user_count)
        counts: Counter[str] = Counter()
        for users in self._users_on_workers.values():
            counts.update(users)
        while self._current_user_count < target:
            placed = self._place_next(self._users_on_workers, counts)
            if placed is None:
                self._no_user_to_spawn = True
                break
            self._current_user_count += 1
            self._active_users.append(placed)
        return self._users_on_workers

    def _distribute_users(
        self, target_user_count: int
    ) -> tuple[dict[str, dict[str, int]], Iterator[str | None], "cycle[Any]", list[tuple[Any, str]]]:
        users_on_workers = {node.id: dict.fromkeys(self._order, 0) for node in self._worker_nodes}
        counts: Counter[str] = Counter()
        active: list[tuple[Any, str]] = []
        while len(active) < target_user_count and (placed := self._place_next(users_on_workers, counts)):
            active.append(placed)
        return users_on_workers, self._user_gen(), cycle(self._worker_nodes), active
