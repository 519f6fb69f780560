"""One swarm over three servers: each gets the same requests and is judged by itself, whatever the others do."""

import json
from pathlib import Path
from typing import Any

from tests.e2e.conftest import BIN, Process, Run, end, finished, start, start_anew, wait_for
from tests.target.loopback import Loopback

KEY = "a-key-of-these-servers"
KINDS = ("fast", "slow", "dying")
GPU_PAGE = b'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 40\n'


def simulator(*arguments: str) -> tuple[Process, str]:
    process = start_anew(
        [str(BIN / "probe"), "sim", "--port", "0", "--api-key-env", "SIM_KEY", *arguments], SIM_KEY=KEY
    )
    assert process.stdout is not None
    return process, process.stdout.readline().rpartition(" ")[2].strip()


def swarm(urls: dict[str, str], gpus: str, tmp_path: Path) -> tuple[Process, Path]:
    file, out = tmp_path / "hosts.yaml", tmp_path / "run"
    same = "prompts: {tokens: 40}, output_tokens: {uniform: [8, 30]}, stream: 0.8"
    file.write_text(
        "kinds:\n" + "".join(f"  - {{name: {kind}, host: '{url}', {same}}}\n" for kind, url in urls.items())
    )
    load = ["--rate", "5", "--hold", "20s", "--settle", "3s", "--max-in-flight", "120", "--processes", "2"]
    quiet = ["--warm-up", "2", "--drain", "10s", "--gpu-metrics", gpus]
    line = [str(BIN / "probe"), "run", "--workload", str(file), "--out", str(out), *load, *quiet]
    return start(line, PROBE_API_KEY=KEY), out


def part(run: Run, kind: str) -> Run:
    return Run(run.directory / "servers" / kind, run.code, "")


def capacity(run: Run) -> dict[str, Any]:
    return dict(json.loads((run.directory / "capacity.json").read_text()))


def checks(run: Run) -> dict[str, str]:
    return {finding["check"]: finding["state"] for finding in capacity(run)["findings"]}


def test_each_of_several_servers_is_judged_by_itself(tmp_path: Path) -> None:
    servers = {
        "fast": simulator("--speed", "10"),
        "slow": simulator("--personality", "sequential"),
        "dying": simulator("--speed", "10"),
    }
    try:
        with Loopback({"/metrics": (200, GPU_PAGE)}) as stranger:
            urls = {kind: url for kind, (_, url) in servers.items()}
            process, out = swarm(urls, f"{stranger.url}/metrics", tmp_path)

            def half_way() -> bool:
                file = out / "requests.csv"
                return process.poll() is not None or (file.exists() and file.read_text().count(",dying,") > 60)

            wait_for(half_way, "replies of all servers")
            servers["dying"][0].kill()
            run = finished(process, out)
    finally:
        for server, _ in servers.values():
            end(server)
    assert run.code == 0, run.said
    check_rows(run)
    check_verdicts(run)
    assert stranger.requests, "the GPUs' page was never asked for"
    assert not [headers for _, _, headers in stranger.requests if "Authorization" in headers], "the key went elsewhere"


def check_rows(run: Run) -> None:
    rows, parts = run.rows(), {kind: part(run, kind).rows() for kind in KINDS}
    assert sorted(row["reply_id"] for own in parts.values() for row in own) == sorted(row["reply_id"] for row in rows)
    assert {kind: {row["scenario"] for row in own} for kind, own in parts.items()} == {kind: {kind} for kind in KINDS}
    assert len({row["worker"] for row in rows}) == 2
    dues = {kind: sorted(map(moment, own)) for kind, own in parts.items()}
    assert dues["fast"] == dues["slow"] == dues["dying"]
    asked = {kind: {moment(row): (row["tokens_meant"], row["streamed"]) for row in own} for kind, own in parts.items()}
    assert asked["fast"] == asked["slow"]
    failed = {row["scenario"] for row in rows if row["outcome"] not in {"complete", "ended_by_us"}}
    assert failed == {"dying"}
    for kind in KINDS:
        found = checks(part(run, kind))
        assert {name: found[name] for name in ("accounted", "arrivals", "locust_counts", "files")} == dict.fromkeys(
            ("accounted", "arrivals", "locust_counts", "files"), "pass"
        )


def moment(row: dict[str, str]) -> float:
    return round(float(row["due"]), 4)


def check_verdicts(run: Run) -> None:
    found = {kind: capacity(part(run, kind)) for kind in KINDS}
    (fast,), (slow,) = (found[kind]["levels"] for kind in ("fast", "slow"))
    assert fast["state"] != "failed"
    assert fast["broken_share"] == 0
    assert slow["state"] == "failed"
    assert slow["served_share"] < fast["served_share"]
    urls = {kind: {row["url"] for row in part(run, kind).rows("server.csv")} for kind in KINDS}
    assert {kind: len(own) for kind, own in urls.items()} == dict.fromkeys(KINDS, 1)
    assert len(set.union(*urls.values())) == len(KINDS)
    listed = json.loads((run.directory / "servers.json").read_text())["servers"]
    assert [(one["name"], one["sentence"]) for one in listed] == [(kind, found[kind]["sentence"]) for kind in KINDS]
    for kind in KINDS:
        assert f"{kind}: {found[kind]['sentence']}" in run.said
        assert f'href="servers/{kind}/capacity.html"' in (run.directory / "capacity.html").read_text()
    assert not (run.directory / "capacity.json").exists()
