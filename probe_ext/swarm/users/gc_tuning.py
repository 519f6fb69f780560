"""Keep Python's garbage collection out of the way of reads.

A collection of all objects stops everything for tens of milliseconds once Locust and its libraries are loaded, and the
usual thresholds start one every few hundred replies. What exists when a run begins stays for good: it is set aside, and
never looked at again. What a reply makes is freed as it is let go, without cycles; so collections of the young, which
are short, may be rare too.
"""

import gc

_YOUNG, _MIDDLE, _OLD = 20_000, 20, 10
"""containers made and not let go before the young are looked at; such collections before the older are"""


def settle() -> None:
    """Collect now, before anybody is measured, and set aside what is left."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
