"""A table that forgets what was not used for longest, so that days of traffic fit into memory."""

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedTable(Generic[Key, Value]):
    """At most `limit` values by key."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self.forgotten = 0

    def __len__(self) -> int:
        """Return how many values there are."""
        return len(self._values)

    def get(self, key: Key) -> Value | None:
        """Return a value, which counts as its use; None if it is unknown or forgotten."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Store a value."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)
            self.forgotten += 1
