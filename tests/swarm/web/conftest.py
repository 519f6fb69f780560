"""A web UI in the tests' own process."""

from live_ui import no_arguments  # noqa: F401 - a fixture
