"""Memory of long runs: finalized windows, and Locust's counts per second."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from locust.stats import RequestStats

from probe_ext.run import directory
from probe_ext.swarm.master.stats_pruning import KEPT_S, forget_old_seconds
from probe_ext.swarm.run_files.collector import Collector


def window(start: int, count: int = 1) -> dict[str, Any]:
    return {"metric": "tokens", "start": start, "seconds": 1, "count": count}


def batch(number: int, *windows: dict[str, Any]) -> dict[str, Any]:
    told = dict.fromkeys(("started", "finished", "cpu_seconds", "loop_lag_max", "stamped", "disk_error"))
    return {"run": "r", "worker": "w", "number": number, "rows": [], "gaps": [], "windows": list(windows), **told}


def test_finalized_windows_leave_memory_and_are_in_the_file(tmp_path: Path) -> None:
    collector = Collector("r", tmp_path, lambda _: None)
    for second in range(0, 1000, 10):
        collector.accept(batch(second + 1, *[window(second + k, second) for k in range(10)]))
        collector.add_windows()
        collector.finalize_windows(second - 100.0)
        assert sum(1 for _ in collector.book.records()) <= 130  # however long the run
    collector.close()
    lines = [json.loads(line) for line in (tmp_path / directory.SKETCHES).read_text().splitlines()]
    assert lines == [window(second, second // 10 * 10) for second in range(1000)]


def run_of(seconds: int, **given: Any) -> Any:
    stats = RequestStats()
    stats.total.start_time = 1_000_000.0
    for _ in range(seconds):
        stats.log_request("LLM", "chat", 10, 1)
    for entry in (stats.total, stats.get("chat", "LLM")):
        entry.num_reqs_per_sec.clear()  # by the real clock
        entry.num_reqs_per_sec.update(dict.fromkeys(range(1_000_000, 1_000_000 + seconds), 1))
        entry.last_request_timestamp = 999_999.0 + seconds
    options = SimpleNamespace(**{"json": False, "json_file": None, **given})
    return SimpleNamespace(parsed_options=options, runner=SimpleNamespace(stats=stats))


def test_locusts_counts_per_second_stay_small() -> None:
    environment = run_of(1000)
    total = environment.runner.stats.total
    rate = total.current_rps
    forget_old_seconds(environment)
    for entry in (total, environment.runner.stats.get("chat", "LLM")):
        assert len(entry.num_reqs_per_sec) == KEPT_S + 1
    assert total.current_rps == rate > 0
    assert total.num_requests == 1000


@pytest.mark.parametrize("asked", [{"json": True}, {"json_file": "x"}])
def test_keeps_all_seconds_for_locusts_json(asked: dict[str, Any]) -> None:
    environment = run_of(1000, **asked)
    forget_old_seconds(environment)
    assert len(environment.runner.stats.total.num_reqs_per_sec) >= 1000
