"""Workers of this machine: how one ended is known for as long as a run may take, and all end with their master."""

import os
import select
import signal
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


_KILLED = """
import os, signal, sys, time
import gevent
from probe_ext.swarm.preparation import local_workers
local_workers._LOOK_EVERY_S = local_workers._LOST_MASTER_GRACE_S = 0.1
if sys.argv[1] == "watched":
    local_workers.end_forked_workers_with_master()
if not gevent.fork():
    said = []
    gevent.signal_handler(signal.SIGTERM, lambda: said.append(1) or len(said) > 2 and os._exit(0))
    print("worker", flush=True)
    while True:
        gevent.sleep(0.05)
time.sleep(300)
"""


@pytest.mark.parametrize("how", ["watched", "unwatched"])
def test_a_worker_ends_once_its_master_was_killed(how: str) -> None:
    """Even one that ignores the first signals. Its end is that of the pipe, which it alone still holds."""
    folder = Path(__file__).parents[3]
    command = [sys.executable, "-c", _KILLED, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder, start_new_session=True) as master:
        assert master.stdout is not None
        try:
            assert master.stdout.readline() == b"worker\n"
            master.kill()
            ended = bool(select.select([master.stdout], [], [], 60 if how == "watched" else 1)[0])
            assert ended == (how == "watched")
        finally:
            os.killpg(master.pid, signal.SIGKILL)
