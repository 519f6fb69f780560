"""Load Locust without its monkey patching: other tests run in the same process."""

import os

_SKIP = "LOCUST_SKIP_MONKEY_PATCH"
os.environ[_SKIP] = "1"
import locust  # noqa: E402, F401 - must be the first

del os.environ[_SKIP]  # child processes of other tests need the patching

from live_ui import no_arguments  # noqa: E402, F401 - as above; a fixture
