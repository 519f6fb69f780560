"""Write a tiny model with random weights as a GGUF file, for a real llama.cpp server; standard library only.

The layout is GGUF version 3 (docs/gguf.md in the ggml repository): header, typed key-value pairs, the tensors' places,
then the tensors, each on a multiple of 32 bytes.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
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
    sizes: tuple[int, ...]  # the innermost first, as GGUF counts them
    kind: int

    @property
    def numbers(self) -> int:
        count = 1
        for size in self.sizes:
            count *= size
        return count

    def data(self) -> bytes:
        """Ones for the norms; else half floats of either sign between 1/64 and 1/32, drawn from the name."""
        if self.kind == F32:
            return struct.pack("<f", 1.0) * self.numbers
        drawn = int.from_bytes(hashlib.shake_256(self.name.encode()).digest(2 * self.numbers), "little")
        sign_and_fraction = int.from_bytes(struct.pack("<H", 0x83FF) * self.numbers, "little")
        exponent = int.from_bytes(struct.pack("<H", 0x2400) * self.numbers, "little")
        return (drawn & sign_and_fraction | exponent).to_bytes(2 * self.numbers, "little")


def tensors(shape: tiny.Shape, tokens: int) -> Iterator[Tensor]:
    hidden, inner, kv = shape.hidden, shape.inner, shape.kv_heads * tiny.HEAD
    yield Tensor("token_embd.weight", (hidden, tokens), F16)
    for layer in range(shape.layers):
        at = f"blk.{layer}."
        yield Tensor(at + "attn_norm.weight", (hidden,), F32)
        yield Tensor(at + "attn_q.weight", (hidden, shape.heads * tiny.HEAD), F16)
        yield Tensor(at + "attn_k.weight", (hidden, kv), F16)
        yield Tensor(at + "attn_v.weight", (hidden, kv), F16)
        yield Tensor(at + "attn_output.weight", (shape.heads * tiny.HEAD, hidden), F16)
        yield Tensor(at + "ffn_norm.weight", (hidden,), F32)
        yield Tensor(at + "ffn_gate.weight", (hidden, inner), F16)
        yield Tensor(at + "ffn_up.weight", (hidden, inner), F16)
        yield Tensor(at + "ffn_down.weight", (inner, hidden), F16)
    yield Tensor("output_norm.weight", (hidden,), F32)
    yield Tensor("output.weight", (hidden, tokens), F16)


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def texts(key: str, values: Sequence[str]) -> bytes:
    return pair(key, ARRAY, struct.pack("<IQ", STRING, len(values)) + b"".join(map(text, values)))


def metadata(shape: tiny.Shape) -> list[bytes]:
    tokens, merges = tiny.vocabulary()
    kinds = [CONTROL if token in tiny.SPECIALS else NORMAL for token in tokens]

    def count(key: str, value: int) -> bytes:
        return pair(key, UINT32, struct.pack("<I", value))

    def real(key: str, value: float) -> bytes:
        return pair(key, FLOAT32, struct.pack("<f", value))

    def words(key: str, value: str) -> bytes:
        return pair(key, STRING, text(value))

    return [
        words("general.architecture", "llama"),
        words("general.name", "random weights"),
        count("general.file_type", F16),
        count("llama.context_length", tiny.CONTEXT),
        count("llama.embedding_length", shape.hidden),
        count("llama.block_count", shape.layers),
        count("llama.feed_forward_length", shape.inner),
        count("llama.attention.head_count", shape.heads),
        count("llama.attention.head_count_kv", shape.kv_heads),
        count("llama.rope.dimension_count", tiny.HEAD),
        count("llama.vocab_size", len(tokens)),
        real("llama.attention.layer_norm_rms_epsilon", 1e-6),
        real("llama.rope.freq_base", 10_000.0),
        words("tokenizer.ggml.model", "gpt2"),
        words("tokenizer.ggml.pre", "gpt-2"),
        texts("tokenizer.ggml.tokens", tokens),
        texts("tokenizer.ggml.merges", [f"{left} {right}" for left, right in merges]),
        pair("tokenizer.ggml.token_type", ARRAY, struct.pack(f"<IQ{len(kinds)}i", INT32, len(kinds), *kinds)),
        count("tokenizer.ggml.bos_token_id", tokens.index(tiny.START)),
        count("tokenizer.ggml.eos_token_id", tokens.index(tiny.END_OF_TURN)),
        count("tokenizer.ggml.padding_token_id", tokens.index(tiny.PADDING)),
        pair("tokenizer.ggml.add_bos_token", BOOL, b"\0"),
        words("tokenizer.chat_template", tiny.CHAT_TEMPLATE),
    ]


def pad(file: BinaryIO) -> None:
    file.write(b"\0" * (-file.tell() % ALIGNMENT))


def write(shape: tiny.Shape, path: Path) -> None:
    pairs = metadata(shape)
    everything = list(tensors(shape, len(tiny.vocabulary()[0])))
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(everything), len(pairs)) + b"".join(pairs))
        offset = 0
        for tensor in everything:
            dimensions = struct.pack(f"<I{len(tensor.sizes)}Q", len(tensor.sizes), *tensor.sizes)
            file.write(text(tensor.name) + dimensions + struct.pack("<IQ", tensor.kind, offset))
            size = tensor.numbers * (4 if tensor.kind == F32 else 2)
            offset += size + -size % ALIGNMENT
        for tensor in everything:
            pad(file)
            file.write(tensor.data())
        pad(file)
    unfinished.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("shape", choices=sorted(tiny.SHAPES))
    parser.add_argument("path", type=Path, help="the file to write, NAME.gguf")
    options = parser.parse_args()
    write(tiny.SHAPES[options.shape], options.path)
    print(f"{options.shape}: {options.path.stat().st_size / 1e6:.0f} MB in {options.path}")


if __name__ == "__main__":
    main()
