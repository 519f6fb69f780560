"""Sizes and vocabulary of the tiny models for both real servers; standard library only.

The vocabulary is a byte-level BPE. Its merges build the most common word prefixes letter by letter (" th" from " t" and
"h"), counted in the source of Python's standard library, so that no corpus needs to be downloaded. All 256 bytes are
tokens as well, so any text can be encoded, and the random model occasionally outputs half a character, as real models
do.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import sysconfig
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Shape:
    """The size of a model. vLLM's CPU attention requires a head size of 32, 64, 80, 96, …; all models use 64."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    inner: int


SHAPES = {
    "tiny": Shape(layers=4, hidden=256, heads=4, kv_heads=2, inner=1024),  # 6 M: about 1 ms per token
    "thinker": Shape(layers=4, hidden=256, heads=4, kv_heads=2, inner=1024),  # as tiny, with think tokens
    "slow": Shape(layers=32, hidden=512, heads=8, kv_heads=2, inner=1536),  # 101 M: 10 to 14 ms per token
}
HEAD_SIZE = 64
CONTEXT = 8192

END_OF_TURN, PADDING, START = "<|im_end|>", "<|pad|>", "<|endoftext|>"
SPECIALS = (START, "<|im_start|>", END_OF_TURN, PADDING)
THINK_TOKENS = ("<think>", "</think>")
END_OF_THINKING_WEIGHT = 12.0
"""factor on the output weights of the token that ends reasoning, so that a random model writes it now and then"""
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_WORD = re.compile(r" ?[A-Za-z]+")


def byte_letters() -> list[str]:
    """Return the printable character for each byte, as in GPT-2: the byte itself, or a code point from 256 on."""
    plain = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in plain else next(spare)) for byte in range(256)]


def vocabulary(size: int = 4096) -> tuple[list[str], list[tuple[str, str]]]:
    """Return all tokens in order of their ids, and the merges in order of their rank."""
    space = byte_letters()[ord(" ")]
    words: collections.Counter[str] = collections.Counter()
    for source in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        words.update(_WORD.findall(source.read_text("utf-8", errors="ignore")))
    prefixes: collections.Counter[str] = collections.Counter()
    for word, count in words.items():
        letters = word.replace(" ", space)
        for length in range(2, len(letters) + 1):
            prefixes[letters[:length]] += count
    # A prefix is never rarer than its extensions, so with shorter ones first among equals, each one's parent is
    # included.
    ranked = sorted(prefixes, key=lambda text: (-prefixes[text], len(text), text))
    merged = ranked[: size - len(SPECIALS) - 256]
    return [*SPECIALS, *byte_letters(), *merged], [(text[:-1], text[-1]) for text in merged]
