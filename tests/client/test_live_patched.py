"""The client in a process monkey-patched by gevent, as all of Locust's are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from exchange_helpers import check_times, not_always_late
from scripted_server import ScriptedServer
from test_live_figures import PROFILES, paced

HERE = Path(__file__).parent
IN_A_PATCHED_PROCESS = """
from gevent import monkey
monkey.patch_all()
import json, socket, sys
assert monkey.is_module_patched("socket")
from exchange_helpers import SHORT, new_exchange, run_exchange
from probe_ext.client.wire.connection import Connection
from probe_ext.client.wire.address import parse_target
target = parse_target(sys.argv[1])
connection = Connection(target, None)
replies = [run_exchange(new_exchange(connection, target, SHORT)) for _ in range(2)]
connection.close()
print(json.dumps([
    {"outcome": r.outcome, "tokens_out": r.tokens_out, "at": r.events[0].at, "tokens": r.events[0].tokens,
     "connect": r.marks.connect, "lags": r.lags, "stamped": connection.stamped, "sent": r.marks.sent}
    for r in replies
]))
"""


@pytest.mark.parametrize("name", ["quick", "slow"])
@not_always_late
def test_works_in_a_monkey_patched_process(name: str) -> None:
    first, gap, events, each = PROFILES[name]
    with ScriptedServer(paced(first, gap, events, each)) as server:
        done = subprocess.run(
            [sys.executable, "-c", IN_A_PATCHED_PROCESS, f"http://127.0.0.1:{server.port}"],
            env={"PYTHONPATH": f"{HERE}:{HERE.parents[1]}", "PATH": ""},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len(server.peers) == 1
        (peer,) = server.peers
    one, two = json.loads(done.stdout)
    assert [one["outcome"], two["outcome"]] == ["complete", "complete"]
    assert [one["tokens_out"], two["tokens_out"]] == [events * each] * 2
    assert one["connect"] is not None
    assert two["connect"] is None
    assert bool(one["lags"]) is one["stamped"]
    check_times(one["at"] + two["at"], one["tokens"] + two["tokens"], peer, slack=gap / 2)
    assert two["sent"] <= peer.requested_at[1]
