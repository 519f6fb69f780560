"""Substitutes for a server's tokenizer, of different kinds. Each counts a whole prompt, including the template."""

import hashlib
import re

TEMPLATE = 23
PIECE = re.compile(r"[a-zA-Z]+|[^a-zA-Z ]")


def _hash_byte(word):
    return hashlib.md5(word.encode()).digest()[0]


def word_pieces(text):
    """Most words are one token; some are split unpredictably."""
    return TEMPLATE + sum(1 if _hash_byte(w) < 150 else 1 + (len(w) + 1) // 3 for w in PIECE.findall(text))


def big_vocabulary(text):
    """Nearly every word is one token, as for current models."""
    return TEMPLATE + sum(1 + (_hash_byte(w) < 2) for w in PIECE.findall(text))


def byte_like(text):
    return 1 + len(text.encode())


EACH = {"word pieces": word_pieces, "big vocabulary": big_vocabulary, "bytes": byte_like}
