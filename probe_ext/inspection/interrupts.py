"""Ctrl-C in a command that runs on gevent."""

import gevent


def silence_interrupts() -> None:
    """Let Ctrl-C end the command without a report of gevent's loop: `probe` itself says that it was interrupted."""
    hub = gevent.get_hub()
    if KeyboardInterrupt not in hub.NOT_ERROR:
        hub.NOT_ERROR = (*hub.NOT_ERROR, KeyboardInterrupt)
