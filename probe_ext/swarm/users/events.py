"""Events for a user's own code, in the process that runs the users.

    from probe_ext import events

    @events.first_token.add_listener
    def _(reply, row, **kwargs): ...

Each fires once per reply, after its end. Locust logs a listener's exception and goes on.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from locust.event import EventHook

Listener = TypeVar("Listener", bound=Callable[..., Any])


class ReplyEvent(EventHook):
    """An event whose listeners keep their types: Locust's own decorator has none."""

    def add_listener(self, handler: Listener) -> Listener:
        """Call a function whenever the event fires; usable as a decorator."""
        super().add_listener(handler)
        return handler

    @property
    def has_listeners(self) -> bool:
        """Whether anything listens, for events that cost something to prepare."""
        return bool(self._handlers)


first_token = ReplyEvent()
"""`reply, row, seconds`: TTFT, if there was a token"""

token_gap = ReplyEvent()
"""`reply, row, seconds`: a list of all inter-token gaps of the reply, if there are any"""

reply = ReplyEvent()
"""`reply, row`: every reply, however it ended"""
