"""Does the server have requests before a run sends any?"""

import pytest

from probe_ext.target.before_load import Busy, look
from probe_ext.target.control.call_result import Answer, Failed


def page(running: float, waiting: float, tokens: float = 0.0) -> Answer:
    lines = [f'vllm:num_requests_running{{engine="0"}} {running}', f'vllm:num_requests_waiting{{engine="0"}} {waiting}']
    return Answer(200, "\n".join([*lines, f"vllm:generation_tokens_total {tokens}", ""]).encode())


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        ([page(0, 0)], Busy(0, 0)),
        ([page(8, 4, 100), page(7, 5, 180)], Busy(7, 4)),
        ([page(8, 0, 100), page(0, 0, 180)], Busy(0, 0)),  # the last request of an earlier run
        ([page(1, 0, 100), page(1, 0, 100)], Busy(0, 0)),  # a gauge that an idle engine left
        ([page(1, 2, 100), page(1, 2, 100)], Busy(1, 2)),  # nothing moves, but something waits
        ([page(3, 0, 100), Failed("timed out")], Busy(None, None)),
        ([Failed("404")], Busy(None, None)),
        ([Answer(200, b"<html>")], Busy(None, None)),
    ],
)
def test_requests_before_the_run(pages: list[Answer | Failed], found: Busy) -> None:
    left, slept = list(pages), list[float]()
    assert look("http://h/metrics", "m", lambda url: left.pop(0), slept.append) == found
    assert len(slept) == len(pages) - 1
    assert not left
