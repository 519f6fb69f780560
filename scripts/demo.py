"""A whole run in under three minutes, without a GPU: a simulated server, a swarm of two workers, a report.

`make demo` calls it. Its last level is too much for the server, so that there is something to see.
"""

import subprocess
import sys
from pathlib import Path

PROBE = Path(sys.executable).with_name("probe")
LEVELS = "2,8,16"


def main() -> int:
    """Serve, load, report; the exit code of the run."""
    server = subprocess.Popen([PROBE, "sim", "--profile", "demo", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        host = (server.stdout.readline() if server.stdout else "").rpartition(" ")[2].strip()
        if not host:
            return server.wait()
        print(
            f"a simulated server listens at {host}; two workers now hold {LEVELS} users, one level after another",
            flush=True,
        )
        command = ["run", "capacity", "--host", host, "--levels", LEVELS, "--hold", "12s", "--settle", "3s"]
        return subprocess.run([PROBE, *command, "--processes", "2", *sys.argv[1:]], check=False).returncode
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
