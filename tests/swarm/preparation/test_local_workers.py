"""How a local worker ended is known for as long as a run may take."""

import subprocess
import sys
from pathlib import Path

import pytest

_LOST = """
from gevent import monkey
monkey.patch_all()
import os, sys, gevent, gevent.os
sleep = monkey.get_original("time", "sleep")
from probe_ext.swarm.preparation.local_workers import keep_exit_statuses
if sys.argv[1] == "kept":
    keep_exit_statuses()
children = gevent.os._watched_children
child = os.fork()
if not child:
    sleep(0.5)
    os._exit(3)
while not isinstance(children[child], tuple):
    gevent.sleep(0.01)
children[child] = (*children[child][:2], 0.0)  # long ago
other = os.fork()
if not other:
    sleep(0.5)
    os._exit(0)
while not isinstance(children[other], tuple):
    gevent.sleep(0.01)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(("what", "printed"), [("kept", "3\n"), ("forgotten", "")])
def test_the_exit_status_of_a_worker_lost_long_ago_is_known(what: str, printed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOST, what],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=60,
        check=False,
    )
    assert (done.stdout, "ChildProcessError" in done.stderr) == (printed, not printed), done.stderr
