"""The command `probe`."""


def main() -> int:
    """Parse and delegate; the exit code."""
    raise SystemExit("probe: no command works yet")
