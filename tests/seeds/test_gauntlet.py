"""The gauntlet's pages: counts that differ, memory and cost that grow are faults; pages are made from their data."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from probe_ext.workload.workload_file import read_workload
from scripts.gauntlet.__main__ import OUT
from scripts.gauntlet.commands import WORKLOAD, shown_urls, workload_with
from scripts.gauntlet.page import page
from scripts.gauntlet.published import REPORTED_OUTAGE_S, REPORTED_SHARE, REPORTED_WINDOW_S, published_beside
from scripts.gauntlet.servers import ARMS
from scripts.gauntlet.soak_page import cached_blocks, count, evaluate, judge_cost, soak_page
from scripts.gauntlet.waiting import attempt_seconds

START = 1000.0


def soak_run(run: Path, *, rows: int = 4, in_log: int = 3, refused: int = 2, ended: int = 1) -> dict[str, Any]:
    """Write a soak's files: by default, three replies in the server's log, one of them also counted as HTTP 500."""
    head = {"kind": "server", "epoch": START, "monotonic": 0.0}
    replies = [{"kind": "reply", "arrival": -5.0, "finish": "length", "stream": True}]  # a check before the run
    replies += [
        {"kind": "reply", "arrival": float(n), "finish": "error" if n < ended else "stop", "stream": n >= ended}
        for n in range(in_log)
    ]
    for reply in replies:
        reply |= {"prompt_tokens": 40, "reply_tokens": 24, "cached_tokens": 16}
    log = "\n".join(json.dumps(each) for each in [head, *replies, {"kind": "restart", "at": 1.0}])
    (run / "server_truth.jsonl").write_text(log)
    wanted = 'http_requests_total{handler="/v1/chat/completions",method="POST",status="5xx"}'
    (run / "server_metrics.txt").write_text(
        f'# TYPE\ncache_config_info{{block_size="16",num_gpu_blocks="100"}} 1.0\n{wanted} {refused}.0\n'
    )
    replies_rows = [(n, "complete", 1.0) for n in range(rows - 1)] + [
        ("h", "http_error", 2.0),
        ("c", "client_error", ""),
    ]
    with (run / "requests.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("reply_id", "outcome", "sent"), *replies_rows])
    return {"started_unix": START, "duration": 7200.0, "workers": [{"started": rows + 1}]}


def test_blocks_of_the_prefix_cache_are_counted_since_the_restart(tmp_path: Path) -> None:
    soak_run(tmp_path)
    assert cached_blocks(tmp_path, START + 0.5) == {"kept": 2 * (4 - 1), "blocks": 100}


def test_each_request_is_counted_once(tmp_path: Path) -> None:
    counts = count(tmp_path, soak_run(tmp_path))
    assert (counts["server"], counts["rows"], counts["not_connected"]) == (4, 5, 1)
    assert counts["equal"]


@pytest.mark.parametrize("wrong", [{"rows": 5}, {"in_log": 4}, {"refused": 3}])
def test_a_request_too_many_on_either_side_is_a_fault(tmp_path: Path, wrong: dict[str, int]) -> None:
    assert not count(tmp_path, soak_run(tmp_path, **wrong))["equal"]


def test_a_row_that_no_worker_started_is_a_fault(tmp_path: Path) -> None:
    manifest = soak_run(tmp_path)
    manifest["workers"][0]["started"] += 1
    assert not count(tmp_path, manifest)["equal"]


@pytest.mark.parametrize(("growth", "fails"), [(0.0, False), (0.5, True)])
def test_cpu_time_that_grows_is_a_fault(growth: float, fails: bool) -> None:
    seconds = [(t, 0.1 * t + growth * 0.1 * t * t / 7200) for t in range(0, 7200, 10)]
    figures, faults = judge_cost([(float(t), "master", 90.0, cpu) for t, cpu in seconds])
    per_hour = figures["master"]["per_hour"]
    assert per_hour == pytest.approx(growth / (1 + growth), abs=0.01)
    assert bool(faults) is fails


def test_the_soak_s_page_says_what_failed(tmp_path: Path) -> None:
    manifest = soak_run(tmp_path, rows=5)
    (tmp_path / "run.json").write_text(json.dumps(manifest))
    samples = [
        (t, name, 90.0 + 40 * t / 3600, t / 10) for t in range(0, 7200, 10) for name in ("master", "server", "worker 1")
    ]
    with (tmp_path / "soak.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("t", "process", "rss_mib", "cpu_seconds"), *samples])
    plan = {"minutes": 120, "rate": 3}
    moment = {"t": 900.0, "requests": 10, "failed_share": 0.3, "unsent": 0, "ttft_p95": None}
    outage = {"since": 1800.0, "until": 2100.0, "worst_share": 0.33, "even_share": 0.333, "clean_at": 3000.0}
    rolling = {"seconds": 900.0, "moments": [moment], "outages": [outage]}
    for name, content in (("soak_plan", plan), ("report_time", {"wall_s": 61.0, "cpu_s": 9.0})):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "capacity.json").write_text(json.dumps({"sentence": "At least 3.", "rolling": rolling}))
    summary = evaluate(tmp_path)
    text = soak_page(summary)
    assert [fault.split()[0] for fault in summary["faults"]] == ["master", "worker", "counts", "the"]
    assert "grew by 40 MiB/h" in text
    assert "the report took 61 s" in text
    assert "{" not in text.replace("{'", "").replace(": {", "")


def test_the_committed_pages_are_made_from_their_data() -> None:
    data = json.loads((OUT / "gauntlet.json").read_text(encoding="utf-8"))
    assert page(data, published_beside(data)) == (OUT / "README.md").read_text(encoding="utf-8")
    summary = json.loads((OUT / "soak.json").read_text(encoding="utf-8"))
    assert soak_page(summary) == (OUT / "soak.md").read_text(encoding="utf-8")


def test_all_servers_were_sent_the_same_requests_at_the_same_moments() -> None:
    schedule = json.loads((OUT / "gauntlet.json").read_text(encoding="utf-8"))["schedule"]
    assert min(schedule["requests"]) > 1000
    assert max(schedule["requests"]) - min(schedule["requests"]) <= 1
    assert schedule["dues_apart"] < 1e-3


def test_the_workload_names_every_server_of_the_contest(tmp_path: Path) -> None:
    shown = read_workload(str(WORKLOAD))
    assert [(kind.name, kind.host) for kind in shown.kinds] == [
        (arm.name, url) for arm, url in zip(ARMS, shown_urls(ARMS), strict=True)
    ]
    urls = [f"http://127.0.0.1:{40000 + number}" for number in range(len(ARMS))]
    (tmp_path / "run.yaml").write_text(workload_with(urls, ARMS), encoding="utf-8")
    run = read_workload(str(tmp_path / "run.yaml"))
    assert [kind.host for kind in run.kinds] == urls
    assert all(kind.prompts and Path(str(kind.prompts.file)).is_file() for kind in run.kinds)


def test_users_who_wait_show_the_outage_as_the_formula_says() -> None:
    hung = json.loads((OUT / "gauntlet.json").read_text(encoding="utf-8"))["hung"]
    (outage,) = hung["outages"]
    assert hung["failed_seconds"] > 1.5 * hung["served_seconds"]
    assert outage["worst_share"] == pytest.approx(hung["computed_share"], abs=0.05)
    assert outage["worst_share"] == pytest.approx(REPORTED_SHARE, abs=0.05)
    assert outage["worst_share"] < REPORTED_OUTAGE_S / REPORTED_WINDOW_S


def test_an_attempt_s_time_is_that_of_requests_that_were_sent_and_not_ended_by_us(tmp_path: Path) -> None:
    rows = [("1", "3", "complete"), ("2", "6", "complete"), ("1", "7", "stalled"), ("", "9", "client_error")]
    rows.append(("1", "9", "ended_by_us"))
    with (tmp_path / "requests.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("sent", "end", "outcome"), *rows])
    assert attempt_seconds(tmp_path) == (3.0, 6.0)
