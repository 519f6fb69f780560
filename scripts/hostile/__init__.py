"""An hour under a server, and beside a stranger on the master's port, that try everything: `make soak-hostile`."""
