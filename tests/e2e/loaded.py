"""`probe run` from a process that has already loaded Locust: it forks, and the child runs the command.

Most of what is refused is refused at once, while loading Locust takes a second: the tests of refusals ask here. That
the command loads what it needs is shown by all the others, which start it anew.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

PATIENCE = 120
"""seconds after which a command is killed"""


@cache
def _loaded() -> "subprocess.Popen[str]":
    """It ends with its parent, which holds the other end of its stdin."""
    return subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(words: list[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a command, and return its output and exit code."""
    process = _loaded()
    assert process.stdin is not None
    assert process.stdout is not None
    with tempfile.TemporaryDirectory() as place:
        out, err = Path(place, "out"), Path(place, "err")
        asked = {"words": words, "environment": dict(environment), "out": str(out), "err": str(err)}
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())


def _serve() -> int:
    """Fork for each line of input; the child returns the command's exit code."""
    import locust.main  # noqa: F401, PLC0415 - patches this process, and is for it alone
    from gevent import monkey  # noqa: PLC0415 - as above

    import probe_ext.swarm.listeners  # noqa: F401, PLC0415 - as above

    fork, wait = monkey.get_original("os", ["fork", "waitpid"])  # the patched versions need a running event loop
    for line in sys.stdin:
        child = fork()
        if not child:
            return _become(json.loads(line))
        _, status = wait(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
    return 0


def _become(asked: dict[str, Any]) -> int:
    import gevent  # noqa: PLC0415 - as above

    from probe_ext.cli import main  # noqa: PLC0415 - as above

    signal.alarm(PATIENCE)
    for descriptor, path in enumerate((os.devnull, asked["out"], asked["err"])):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["environment"])
    gevent.reinit()
    sys.argv = ["probe", *asked["words"]]
    return main(asked["words"])


if __name__ == "__main__":
    sys.exit(_serve())
