"""A complete load test in under three minutes, without a GPU: a simulated server, two workers, a report.

`make demo` runs it. The last level overloads the server, so that the report has something to show.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

PROBE = Path(sys.executable).with_name("probe")
SERVER = ("sim", "--profile", "demo", "--port")
LEVELS = "2,8,16"
LATE_S = 0.1
"""by which the simulated server may be late without a word: a tenth of what a first word may take"""


def main() -> int:
    """Start the server and run the load test; return the run's exit code."""
    with tempfile.TemporaryFile("w+") as warnings:
        server = subprocess.Popen([PROBE, *SERVER, "0"], stdout=subprocess.PIPE, stderr=warnings, text=True)
        try:
            host = (server.stdout.readline() if server.stdout else "").rpartition(" ")[2].strip()
            if not host:
                code = server.wait()
                sys.stderr.write(_text(warnings))
                return code
            print(f"simulated server running at {host}; now testing it with two workers", flush=True)
            command = ["run", "capacity", "--host", host, "--levels", LEVELS, "--hold", "15s", "--settle", "3s"]
            code = subprocess.run([PROBE, *command, "--processes", "2", *sys.argv[1:]], check=False).returncode
            if late := lateness(_text(warnings)):
                print(late)
        finally:
            server.terminate()
            server.wait()
    again = " ".join(["probe", *SERVER, host.rpartition(":")[2]])
    print(f"The simulated server has ended. To run a command of the report, start it again first: {again}")
    return code


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def lateness(warnings: str) -> str:
    """Return what the simulated server's warnings mean for the result; empty where they don't matter."""
    late = max(map(float, re.findall(r"tokens sent ([\d.]+) s late", warnings)), default=0.0)
    if late < LATE_S:
        return ""
    return (
        f"This machine was busy: the simulated server sent tokens up to {late:.1f} s late, "
        "so fewer people may be served than on an idle one."
    )


if __name__ == "__main__":
    sys.exit(main())
