"""Where the command `probe`, and `python -m probe_ext`, begin: Ctrl-C ends them in one line from here on."""

import sys

from probe_ext.import_interrupts import ImportInterrupts


def main() -> int:
    """Run a command and return its exit code."""
    with ImportInterrupts():
        from probe_ext import cli  # noqa: PLC0415 - its imports take longest: not before Ctrl-C is handled
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
