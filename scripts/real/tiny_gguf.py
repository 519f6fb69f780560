"""Write a tiny model with random weights as a GGUF file, for a real llama.cpp server; standard library only.

The format is GGUF version 3 (docs/gguf.md in the ggml repository): a header, typed key-value pairs, the tensors'
offsets, then the tensors, each aligned to 32 bytes.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import math
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import tiny

ALIGNMENT = 32
UINT32, FLOAT32, BOOL, STRING, ARRAY, INT32 = 4, 6, 7, 8, 9, 5  # GGUF's value types
F32, F16 = 0, 1  # ggml's tensor types
NORMAL, CONTROL = 1, 3  # llama.cpp's token types


@dataclasses.dataclass(frozen=True)
class Tensor:
    name: str
    sizes: tuple[int, ...]  # innermost dimension first, as in GGUF
    kind: int

    @property
    def count(self) -> int:
        return math.prod(self.sizes)

    def data(self) -> bytes:
        """Return ones for norms; otherwise random half floats of magnitude 1/64 to 1/32, seeded with the name."""
        if self.kind == F32:
            return struct.pack("<f", 1.0) * self.count
        drawn = int.from_bytes(hashlib.shake_256(self.name.encode()).digest(2 * self.count), "little")
        sign_and_fraction = int.from_bytes(struct.pack("<H", 0x83FF) * self.count, "little")
        exponent = int.from_bytes(struct.pack("<H", 0x2400) * self.count, "little")
        return (drawn & sign_and_fraction | exponent).to_bytes(2 * self.count, "little")


def tensors(shape: tiny.Shape, tokens: int) -> Iterator[Tensor]:
    hidden, inner, kv = shape.hidden, shape.inner, shape.kv_heads * tiny.HEAD_SIZE
    yield Tensor("token_embd.weight", (hidden, tokens), F16)
    for layer in range(shape.layers):
        prefix = f"blk.{layer}."
        yield Tensor(prefix + "attn_norm.weight", (hidden,), F32)
        yield Tensor(prefix + "attn_q.weight", (hidden, shape.heads * tiny.HEAD_SIZE), F16)
        yield Tensor(prefix + "attn_k.weight", (hidden, kv), F16)
        yield Tensor(prefix + "attn_v.weight", (hidden, kv), F16)
        yield Tensor(prefix + "attn_output.weight", (shape.heads * tiny.HEAD_SIZE, hidden), F16)
        yield Tensor(prefix + "ffn_norm.weight", (hidden,), F32)
        yield Tensor(prefix + "ffn_gate.weight", (hidden, inner), F16)
        yield Tensor(prefix + "ffn_up.weight", (hidden, inner), F16)
        yield Tensor(prefix + "ffn_down.weight", (inner, hidden), F16)
    yield Tensor("output_norm.weight", (hidden,), F32)
    yield Tensor("output.weight", (hidden, tokens), F16)


def encode_string(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    return encode_string(key) + struct.pack("<I", kind) + value


def string_array(key: str, values: Sequence[str]) -> bytes:
    return pair(key, ARRAY, struct.pack("<IQ", STRING, len(values)) + b"".join(map(encode_string, values)))


def metadata(shape: tiny.Shape) -> list[bytes]:
    tokens, merges = tiny.vocabulary()
    kinds = [CONTROL if token in tiny.SPECIALS else NORMAL for token in tokens]

    def integer(key: str, value: int) -> bytes:
        return pair(key, UINT32, struct.pack("<I", value))

    def floating(key: str, value: float) -> bytes:
        return pair(key, FLOAT32, struct.pack("<f", value))

    def string(key: str, value: str) -> bytes:
        return pair(key, STRING, encode_string(value))

    return [
        string("general.architecture", "llama"),
        string("general.name", "random weights"),
        integer("general.file_type", F16),
        integer("llama.context_length", tiny.CONTEXT),
        integer("llama.embedding_length", shape.hidden),
        integer("llama.block_count", shape.layers),
        integer("llama.feed_forward_length", shape.inner),
        integer("llama.attention.head_count", shape.heads),
        integer("llama.attention.head_count_kv", shape.kv_heads),
        integer("llama.rope.dimension_count", tiny.HEAD_SIZE),
        integer("llama.vocab_size", len(tokens)),
        floating("llama.attention.layer_norm_rms_epsilon", 1e-6),
        floating("llama.rope.freq_base", 10_000.0),
        string("tokenizer.ggml.model", "gpt2"),
        string("tokenizer.ggml.pre", "gpt-2"),
        string_array("tokenizer.ggml.tokens", tokens),
        string_array("tokenizer.ggml.merges", [f"{left} {right}" for left, right in merges]),
        pair("tokenizer.ggml.token_type", ARRAY, struct.pack(f"<IQ{len(kinds)}i", INT32, len(kinds), *kinds)),
        integer("tokenizer.ggml.bos_token_id", tokens.index(tiny.START)),
        integer("tokenizer.ggml.eos_token_id", tokens.index(tiny.END_OF_TURN)),
        integer("tokenizer.ggml.padding_token_id", tokens.index(tiny.PADDING)),
        pair("tokenizer.ggml.add_bos_token", BOOL, b"\0"),
        string("tokenizer.chat_template", tiny.CHAT_TEMPLATE),
    ]


def pad(file: BinaryIO) -> None:
    file.write(b"\0" * (-file.tell() % ALIGNMENT))


def write(shape: tiny.Shape, path: Path) -> None:
    pairs = metadata(shape)
    all_tensors = list(tensors(shape, len(tiny.vocabulary()[0])))
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(all_tensors), len(pairs)) + b"".join(pairs))
        offset = 0
        for tensor in all_tensors:
            dimensions = struct.pack(f"<I{len(tensor.sizes)}Q", len(tensor.sizes), *tensor.sizes)
            file.write(encode_string(tensor.name) + dimensions + struct.pack("<IQ", tensor.kind, offset))
            size = tensor.count * (4 if tensor.kind == F32 else 2)
            offset += size + -size % ALIGNMENT
        for tensor in all_tensors:
            pad(file)
            file.write(tensor.data())
        pad(file)
    unfinished.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("shape", choices=sorted(tiny.SHAPES))
    parser.add_argument("path", type=Path, help="output file, NAME.gguf")
    options = parser.parse_args()
    write(tiny.SHAPES[options.shape], options.path)
    print(f"{options.shape}: {options.path.stat().st_size / 1e6:.0f} MB in {options.path}")


if __name__ == "__main__":
    main()
