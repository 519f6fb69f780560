"""The HTTP API: routes and handlers."""
