"""The scenarios memory_wall and cold_user with plain Locust and workers: their defaults and variants."""

import json
from collections.abc import Iterator

import pytest

from probe_ext.report.report_command import build
from tests.e2e.conftest import BIN, ROOT, end, locust, start, stopped


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """Run a simulated server with a long context, five times faster than its card."""
    serving = start([str(BIN / "probe"), "sim", "--profile", "rtx3060-qwen2.5-7b-awq", "--port", "0", "--speed", "5"])
    try:
        assert serving.stdout is not None
        yield serving.stdout.readline().rpartition(" ")[2].strip()
    finally:
        end(serving)


SHORT = ("-u", "8", "-r", "8", "--max-tokens", "32")


def test_cold_and_warm_prompts_in_one_run(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("cold") / "run"
    file = ROOT / "locustfiles" / "cold_user.py"
    run = stopped(
        start(locust(server_url, out, *SHORT, "--processes", "2", file=file)), out, lambda rows: len(rows) > 80
    )
    assert run.code == 0, run.said
    rows = run.rows()
    by_arm = {arm: [row for row in rows if row["scenario"] == arm] for arm in ("cold", "warm")}
    assert sum(map(len, by_arm.values())) == len(rows)
    assert all(by_arm.values())
    assert {row["tokens_in"] for row in rows} <= {str(n) for n in range(498, 503)}
    assert {row["tokens_cached"] for row in by_arm["cold"]} <= {"0"}
    assert sum(int(row["tokens_cached"]) > 400 for row in by_arm["warm"]) > len(by_arm["warm"]) / 2
    build(out)
    cold_user = json.loads((out / "capacity.json").read_text())["cold_user"]
    assert cold_user["measured"]
    assert cold_user["hit_rate_from"] == "server"
    assert 0 < cold_user["hit_rate"] < 1
    assert min(cold_user["cold_p50"], cold_user["warm_p50"]) > 0


@pytest.mark.parametrize(("given", "shared"), [((), True), (("--shared-prefix-tokens", "0"), False)])
def test_memory_wall_with_shared_and_distinct_prompts(
    server_url: str, tmp_path_factory: pytest.TempPathFactory, given: tuple[str, ...], *, shared: bool
) -> None:
    out = tmp_path_factory.mktemp("wall") / "run"
    file = ROOT / "locustfiles" / "memory_wall.py"
    run = stopped(
        start(locust(server_url, out, "-u", "4", "-r", "4", *given, file=file)), out, lambda rows: len(rows) > 4
    )
    assert run.code == 0, run.said
    rows = run.rows()
    assert run.manifest["options"]["max_tokens"] == 500
    assert all(abs(int(row["tokens_in"]) - 2000) <= 2 for row in rows)
    cached = sorted(int(row["tokens_cached"]) for row in rows)
    assert (cached[-1] > 1800) is shared
    assert cached[0] == 0  # the first request finds nothing cached
    usage = max(float(row["value"]) for row in run.rows("server.csv") if row["quantity"] == "kv_usage")
    assert usage > 0
