"""A complete load test in under three minutes, without a GPU: a simulated server, two workers, a report.

`make demo` runs it. The last level overloads the server, so that the report has something to show.
"""

import subprocess
import sys
from pathlib import Path

PROBE = Path(sys.executable).with_name("probe")
LEVELS = "2,8,16"


def main() -> int:
    """Start the server and run the load test; return the run's exit code."""
    server = subprocess.Popen([PROBE, "sim", "--profile", "demo", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        host = (server.stdout.readline() if server.stdout else "").rpartition(" ")[2].strip()
        if not host:
            return server.wait()
        print(
            f"simulated server running at {host}; now testing it with two workers",
            flush=True,
        )
        command = ["run", "capacity", "--host", host, "--levels", LEVELS, "--hold", "12s", "--settle", "3s"]
        return subprocess.run([PROBE, *command, "--processes", "2", *sys.argv[1:]], check=False).returncode
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
