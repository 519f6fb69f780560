"""What large replies took is given back, although small objects that stay were made in between."""

import subprocess
import sys

import pytest

from probe_ext.swarm.process_memory import return_large_buffers

GROW_AND_FREE = """
import ctypes, random, sys
from probe_ext.swarm.process_memory import return_large_buffers

def mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

if sys.argv[1] == "set":
    return_large_buffers()
drawn, chunk, kept, live = random.Random(1), b"x" * 65536, [], [bytearray() for _ in range(8)]
before = mib()
for step in range(10_000):
    buffer = live[drawn.randrange(8)]
    buffer += chunk
    if drawn.random() < 0.05:
        kept.append(bytes(drawn.randrange(600, 4_000)))
    if len(buffer) > drawn.choice([2**20, 2**24]):
        text = bytes(buffer).decode()
        del text
        live[[one is buffer for one in live].index(True)] = bytearray()
live.clear()
del buffer
print(mib() - before)
"""


def growth(how: str) -> float:
    command = [sys.executable, "-c", GROW_AND_FREE, how]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not return_large_buffers(), reason="this C library has no such setting")
def test_large_buffers_are_returned() -> None:
    assert growth("set") < growth("left") / 1.5
