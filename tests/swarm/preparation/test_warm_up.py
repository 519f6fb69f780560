"""The warm-up before a run: its rounds, and that it leaves no rows in the run."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.inspection.warmup.rounds import round_sizes
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import read_options
from probe_ext.swarm.preparation.warm_up import largest_round
from tests.e2e.conftest import BIN, end, locust, start, stopped


@pytest.mark.parametrize(
    ("most", "steps"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (64, [1, 2, 4, 8, 16, 32, 64]), (0, [])],
)
def test_rounds_double_up_to_the_largest(most: int, steps: list[int]) -> None:
    assert round_sizes(most) == steps


def environment(users: int | None = None, fixed: int = 0) -> Any:
    return SimpleNamespace(
        shape_class=None,
        parsed_options=SimpleNamespace(num_users=users),
        user_classes=[SimpleNamespace(fixed_count=fixed)],
    )


@pytest.mark.parametrize(
    ("given", "users", "fixed", "most"),
    [
        ({}, None, 0, 1),
        ({}, 12, 0, 12),
        ({}, 500, 0, 64),
        ({}, None, 1, 1),
        ({"levels": "4,24,8"}, None, 0, 24),
        ({"levels": "4,200"}, None, 0, 64),
        ({"search": "true"}, None, 0, 8),
        ({"search": "true", "max_users": "3"}, None, 0, 3),
        ({"search": "true", "warm_up": "32"}, None, 0, 32),
        ({"levels": "4,24", "warm_up": "2"}, None, 0, 2),
        ({"warm_up": "128"}, 4, 0, 128),
        ({"levels": "4,24", "warm_up": "off"}, None, 0, 0),
    ],
)
def test_largest_round_is_the_expected_number_of_users(
    given: dict[str, str], users: int | None, fixed: int, most: int
) -> None:
    assert largest_round(environment(users, fixed), read_options(given)) == most


@pytest.mark.parametrize("text", ["0", "-1", "some", "1.5"])
def test_rejects_invalid_numbers(text: str) -> None:
    with pytest.raises(SettingsError, match="--warm-up"):
        read_options({"warm_up": text})


def replies_of(truth: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in truth.read_text().splitlines()]
    return [line for line in lines if line["kind"] == "reply"]


@pytest.mark.parametrize("asked", ["3", pytest.param("off", marks=pytest.mark.long)])
def test_warm_up_leaves_no_rows(tmp_path: Path, asked: str) -> None:
    truth, out = tmp_path / "truth.jsonl", tmp_path / "run"
    serving = start([str(BIN / "probe"), "sim", "--port", "0", "--speed", "4", "--truth", str(truth)])
    try:
        assert serving.stdout is not None
        host = serving.stdout.readline().rpartition(" ")[2].strip()
        arguments = ("-u", "2", "-r", "2", "--warm-up", asked, "--shared-prefix-tokens", "100")
        run = stopped(start(locust(host, out, *arguments)), out, lambda rows: len(rows) >= 4)
    finally:
        end(serving)
    told, rows, served = run.manifest["warm_up"], run.rows(), replies_of(truth)
    assert rows
    if asked == "off":
        assert told is None
        assert len(served) == len(rows) + 1, "the first request shows whether the server answers"
        return
    assert [round_["requests"] for round_ in told["rounds"]] == [1, 2, 3]
    assert [round_["failed"] for round_ in told["rounds"]] == [0, 0, 0]
    assert told["most"] == 3
    assert told["slowest_reply"] <= told["seconds"]
    assert len(served) == len(rows) + 7 == run.locust_total + 7
    by_arrival = sorted(served, key=lambda reply: float(reply["arrival"]))
    warming, first = by_arrival[1:7], by_arrival[7]
    assert all(reply["reply_tokens"] <= 16 for reply in warming)
    assert not first["cached_tokens"], "the run's shared prefix must be as cold as it was"
