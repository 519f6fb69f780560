"""The synthetic prompts of a trace: as long as recorded, and sharing what the recorded ones shared."""

import itertools
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from probe_ext.access.trace_prompts import TracePrompts
from probe_ext.prompts.length_model import measured_model
from probe_ext.prompts.phrases import phrases_of
from probe_ext.sim.tokenizer import encode_chat
from probe_ext.workload.traces.read_trace import read_trace
from probe_ext.workload.traces.sharing import shared_tokens
from probe_ext.workload.user_kind import UserKind

SIM_BLOCK = 16
"""tokens: what a prefix cache compares"""
SEED = 3


@cache
def prepared_by_sim() -> dict[str, Any]:
    """What a master finds out of prompt lengths on the simulated server."""
    model = measured_model(lambda text: len(encode_chat([("user", text)])), "tokenize", phrases_of(SEED))
    lengths = {**asdict(model), "measured": dict(model.measured), "vocabulary": list(model.vocabulary)}
    return {"seed": SEED, "length_model": lengths}


def prompts(folder: Path, *requests: tuple[int, list[int]], **keys: Any) -> TracePrompts:
    path = folder / "trace.jsonl"
    path.write_text(
        "\n".join(
            json.dumps({"timestamp": i, "input_length": tokens, "output_length": 5 + i, "hash_ids": hashes})
            for i, (tokens, hashes) in enumerate(requests)
        )
    )
    return TracePrompts(UserKind(name="trace", **keys), read_trace(path), prepared_by_sim())


def tokens(ask: Any) -> list[int]:
    return encode_chat([(one["role"], one["content"]) for one in ask.prompt.messages])


def shared(one: list[int], other: list[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def test_prompts_are_as_long_as_recorded_by_the_servers_tokens(tmp_path: Path) -> None:
    lengths = [7, 20, 300, 511, 512, 513, 1024, 5000, 20_000]
    made = prompts(tmp_path, *((n, list(range(1000 * i, 1000 * i + -(-n // 512)))) for i, n in enumerate(lengths)))
    for place, meant in enumerate(lengths):
        ask = made.ask(place, 0)
        assert ask.prompt.asked_tokens == meant
        assert len(tokens(ask)) == pytest.approx(meant, abs=max(12, 0.01 * meant)), meant
        assert ask.parameters["max_tokens"] == 5 + place


def test_prompts_share_what_the_hashes_say_and_nothing_else(tmp_path: Path) -> None:
    requests = [
        (1100, [1, 2, 3]),
        (1600, [1, 2, 4, 5]),
        (600, [1, 9]),
        (1100, [1, 2, 3]),
        (1024, [7, 2]),
        (1030, [8]),  # what its hashes do not cover is its own
        (1030, [8]),
        (700, []),
        (700, []),
    ]
    made = prompts(tmp_path, *requests)
    texts = [tokens(made.ask(place, 0)) for place in range(len(requests))]
    alike = {(0, 1): 1024, (0, 2): 512, (0, 3): 1100, (1, 2): 512, (1, 3): 1024, (2, 3): 512, (5, 6): 512}
    for one, other in itertools.combinations(range(len(requests)), 2):
        meant = alike.get((one, other), 0)
        assert shared(texts[one], texts[other]) == pytest.approx(meant, abs=SIM_BLOCK), (one, other)
    expected = shared_tokens(made.trace.requests, 512)
    seen: list[list[int]] = []
    for text, meant in zip(texts, expected, strict=True):
        assert max((shared(text, other) for other in seen), default=0) == pytest.approx(meant, abs=SIM_BLOCK)
        seen.append(text)


def test_every_process_makes_the_same_texts_and_another_replay_others(tmp_path: Path) -> None:
    made, again = prompts(tmp_path, (1500, [1, 2, 3])), prompts(tmp_path, (1500, [1, 2, 3]))
    assert made.ask(0, 0) == again.ask(0, 0)
    assert shared(tokens(made.ask(0, 0)), tokens(made.ask(0, 1))) < SIM_BLOCK


def test_a_kind_adds_its_model_body_and_streaming(tmp_path: Path) -> None:
    made = prompts(tmp_path, (20, []), model="m", body={"seed": 3}, stream=0)
    ask = made.ask(0, 0)
    assert (ask.parameters, ask.streamed) == ({"seed": 3, "model": "m", "max_tokens": 5}, False)
