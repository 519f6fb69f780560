"""Events that a user's own code may listen to, in the process that runs the users.

    from probe_ext import events

    @events.first_token.add_listener
    def _(reply, row, **kwargs): ...

Each is fired once a reply, after it has ended; a listener's exception is logged by Locust and harms nothing.
"""

from locust.event import EventHook

first_token = EventHook()
"""`reply, row, seconds`: TTFT, where there was a first token"""

token_gap = EventHook()
"""`reply, row, seconds`: all gaps of the reply as a list, where there was more than one token event"""

reply = EventHook()
"""`reply, row`: every reply that was started, however it ended"""
