"""Runs of traces and of agents, as a user starts them: what was recorded or stated arrives at the server."""

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.e2e.conftest import BIN, Run, finished, start

pytestmark = pytest.mark.long

_BLOCK = 64
_TRACE = """
question: Does it keep up?
trace: {file: m.jsonl, block_tokens: 64, speed: [1, 2]}
kinds: [{name: api, slo: chat}]
"""
_TURNS = """
question: How many of them?
trace: {file: m.jsonl, block_tokens: 64}
arrivals: users
kinds: [{name: people, slo: chat, think_time: {exponential: {mean: 200ms}}}]
"""
_AGENTS = """
question: How many agents?
kinds:
  - name: fixer
    slo: agent
    system_prompt: {tokens: 60}
    prompts: {tokens: 60}
    turns: 5
    output_tokens: 8
    think_time: 200ms
    agent:
      tool_time: 100ms
      result_tokens: 60
      compact: {at: 400, to: 200, summary_tokens: 20}
      subagents: {share: 0.2, count: 2, turns: 2, prompt_tokens: 60}
"""


def trace(folder: Path) -> list[dict[str, Any]]:
    """Write a trace of 14 sessions whose prompts begin in one of three ways, and grow turn by turn."""
    rng, lines, fresh = Random(1), [], 100
    for session in range(14):
        length, blocks = 150 + rng.randrange(100), [session % 3, 10 + session % 3]
        for turn in range(rng.choice((1, 2, 3))):
            while len(blocks) * _BLOCK < length:
                blocks.append(fresh := fresh + 1)
            at = round(1000 * (session * 0.9 + turn * 1.5))
            lines.append({"timestamp": at, "input_length": length, "output_length": rng.randrange(8, 40),
                          "hash_ids": list(blocks), "session_id": session})  # fmt: skip
            length += 60
    lines.sort(key=lambda line: line["timestamp"])
    (folder / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lines


def run_of(text: str, sim: str, folder: Path, *options: str) -> tuple[Run, dict[str, Any]]:
    """Run a workload; return the run and its verdict."""
    file, out = folder / "mine.yaml", folder / "run"
    file.write_text(text)
    command = [str(BIN / "probe"), "run", "--workload", str(file), "--host", sim, "--ignore-eos", "--settle", "1s"]
    run = finished(start([*command, *options, "--out", str(out)]), out)
    assert run.code == 0, run.said
    return run, json.loads((out / "capacity.json").read_text())


def own_rows(run: Run) -> list[dict[str, str]]:
    """Return the rows of the load itself."""
    return [row for row in run.rows() if row["outcome"] == "complete"]


def test_a_trace_is_sent_as_it_was_recorded(sim: str, tmp_path: Path) -> None:
    lines = trace(tmp_path)
    run, verdict = run_of(_TRACE, sim, tmp_path)
    recorded = sorted((line["input_length"], line["output_length"]) for line in lines)
    rows = sorted(own_rows(run), key=lambda row: float(row["due"]))
    first = rows[: len(lines)]
    assert sorted((int(row["tokens_in"]), int(row["tokens_out"])) for row in first) == recorded
    due = [float(row["due"]) - float(first[0]["due"]) for row in first]
    assert due == pytest.approx([line["timestamp"] / 1000 for line in lines], abs=0.01)
    replay = verdict["trace"]
    assert (replay["speeds"], replay["not_sent"]) == ([1.0, 2.0], 0)
    assert replay["shared_found"] == pytest.approx(replay["shared_meant"], abs=0.1)
    assert 0 <= replay["behind_median"] <= replay["behind_p95"] <= replay["behind_max"]
    findings = {finding["check"]: finding["state"] for finding in verdict["findings"]}
    assert findings["prompt_cache"] == "pass", "what prompts shared when they were recorded is meant to be found"


def test_users_take_the_sessions_of_a_trace_in_turn(sim: str, tmp_path: Path) -> None:
    lines = trace(tmp_path)
    run, verdict = run_of(_TURNS, sim, tmp_path, "--levels", "3", "--hold", "6s")
    lengths = {(line["input_length"], line["output_length"]) for line in lines}
    rows = own_rows(run)
    assert {(int(row["tokens_in"]), int(row["tokens_out"])) for row in rows} <= lengths
    by_user: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        by_user[row["user"]].append(row)
    for asked in by_user.values():
        ordered = sorted(asked, key=lambda row: float(row["sent"]))
        assert all(float(two["sent"]) >= float(one["end"]) for one, two in pairwise(ordered))
    assert verdict["trace"]["replayed"] >= len(rows)
    assert verdict["who"] == "people"


def test_agents_are_counted_and_called_so(sim: str, tmp_path: Path) -> None:
    run, verdict = run_of(_AGENTS, sim, tmp_path, "--levels", "2,4", "--hold", "6s")
    rows = own_rows(run)
    contexts = [int(row["tokens_in"]) for row in rows]
    assert max(contexts) > 300, "contexts grow with each result"
    assert max(contexts) < 600, "and are compacted"
    assert verdict["who"] == "agents"
    assert "agents" in run.said
    summary = (run.directory / "summary.md").read_text()
    page = (run.directory / "capacity.html").read_text()
    for text in (run.said, summary, (run.directory / "junit.xml").read_text(), page):
        assert "people" not in text.replace("People who have a reply in flight", "").replace("people ask", "")
