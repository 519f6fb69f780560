"""Which listed model is taken if none is named: the first that can chat."""

import json
from typing import Any

import pytest
from loopback import Loopback

from probe_ext.target import server_identity
from probe_ext.target.control.fetch import Fetcher
from probe_ext.target.model_choice import can_chat


@pytest.mark.parametrize(
    "name",
    [
        *("text-embedding-3-small", "BAAI/bge-m3", "nomic-embed-text:latest", "intfloat/e5-mistral-7b-instruct"),
        *("Alibaba-NLP/gte-Qwen2-7B-instruct", "mxbai-embed-large", "all-MiniLM-L6-v2", "jina-embeddings-v3"),
        *("BAAI/bge-reranker-v2-m3", "Qwen/Qwen3-Reranker-4B", "cross-encoder/ms-marco", "openai/whisper-large-v3"),
        *("whisper-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-transcribe", "dall-e-3", "stable-diffusion-xl-base"),
        *("black-forest-labs/FLUX.1-schnell", "omni-moderation-latest", "meta-llama/Llama-Guard-3-8B", "gpt-image-1"),
        *("Systran/faster-whisper-small", "hexgrad/Kokoro-82M", "colbert-ir/colbertv2.0", "clip-ViT-B-32"),
        *("voyage-3", "Qwen/Qwen-Image-Edit", "Wan2.2-T2V-A14B", "deepseek-ai/DeepSeek-OCR", "orpheus-3b-tts"),
    ],
)
def test_other_models_are_known_by_name(name: str) -> None:
    assert not can_chat({"id": name})


@pytest.mark.parametrize(
    "name",
    [
        *("llama3.2:latest", "Qwen/Qwen3-8B", "gpt-4o", "mistralai/Mistral-Small-24B-Instruct", "demo-1b", "tiny", "m"),
        *("deepseek-r1:7b", "google/gemma-3-27b-it", "microsoft/phi-4", "claude-sonnet-4", "qwen2.5vl:7b", "*"),
        *("openai/gpt-oss-20b", "tinyllama", "command-r-plus", "gpt-3.5-turbo-instruct", "llava:13b", "base"),
    ],
)
def test_language_models_are_not_mistaken(name: str) -> None:
    assert can_chat({"id": name})


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"type": "embeddings"}, False),
        ({"type": "llm"}, True),
        ({"type": "vlm"}, True),
        ({"mode": "audio_transcription"}, False),
        ({"mode": "chat"}, True),
        ({"task": "feature-extraction"}, False),
        ({"pipeline_tag": "text-generation"}, True),
        ({"capabilities": {"completion_chat": False, "fine_tuning": True}}, False),
        ({"capabilities": {"completion_chat": True}}, True),
        ({"capabilities": ["embedding"]}, False),
        ({"capabilities": ["completion", "tools"]}, True),
        ({"capabilities": ["multimodal"]}, True),
        ({"architecture": {"output_modalities": ["image"]}}, False),
        ({"architecture": {"output_modalities": ["text"]}}, True),
        ({"supported_endpoint_types": ["embeddings"]}, False),
        ({"supported_endpoint_types": ["openai", "chat"]}, True),
        ({"supported_generation_methods": ["embedContent"]}, False),
        ({"supportedGenerationMethods": ["generateContent", "countTokens"]}, True),
        ({"supported_endpoints": ["/v1/embeddings"]}, False),
        ({"tasks": ["embed"]}, False),
        ({"model_info": {"mode": "embedding"}}, False),
        ({"details": {"family": "bert"}}, False),
        ({"details": {"family": "llama"}}, True),
        ({"details": 3, "tags": "embedding", "tasks": {}}, True),
        ({"type": 3, "capabilities": 5, "architecture": []}, True),
    ],
)
def test_what_the_server_says_of_a_model_decides(said: dict[str, Any], expected: bool) -> None:
    assert can_chat({"id": "some-model", **said}) is expected


def test_what_a_server_says_outweighs_the_name() -> None:
    assert can_chat({"id": "whisper-chat", "type": "chat"})


@pytest.mark.parametrize(
    ("ids", "default", "length"), [(["bge-m3", "qwen"], "qwen", 4096), (["bge-m3"], None, None), ([], None, None)]
)
def test_the_first_that_can_chat_is_the_default(ids: list[str], default: str | None, length: int | None) -> None:
    entries = [{"id": name, "max_model_len": 4096 if name == "qwen" else 512} for name in ids]
    with Loopback({"/v1/models": (200, json.dumps({"data": entries}).encode())}) as server:
        (entry,) = server_identity.identify(server.url, Fetcher(timeout=60))
    assert (entry["default_model"], entry["max_model_len"]) == (default, length)
    assert entry["models"] == ids
