"""Events for a user's own code, in the process that runs the users.

    from probe_ext import events

    @events.first_token.add_listener
    def _(reply, row, **kwargs): ...

Each fires once per reply, after its end. Locust logs a listener's exception and goes on.
"""

from locust.event import EventHook

first_token = EventHook()
"""`reply, row, seconds`: TTFT, if there was a token"""

token_gap = EventHook()
"""`reply, row, seconds`: a list of all inter-token gaps of the reply, if there are any"""

reply = EventHook()
"""`reply, row`: every reply, however it ended"""
