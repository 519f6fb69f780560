"""Stand-ins for a server's tokenizer, of contrasting kinds. Each counts a whole prompt, template included."""

import hashlib
import re

TEMPLATE = 23
PIECE = re.compile(r"[a-zA-Z]+|[^a-zA-Z ]")


def _chance(word):
    return hashlib.md5(word.encode()).digest()[0]


def word_pieces(text):
    """Most words are one token; some fall into pieces, unpredictably."""
    return TEMPLATE + sum(1 if _chance(w) < 150 else 1 + (len(w) + 1) // 3 for w in PIECE.findall(text))


def big_vocabulary(text):
    """Nearly every word is one token, as in the tokenizers of current models."""
    return TEMPLATE + sum(1 + (_chance(w) < 2) for w in PIECE.findall(text))


def byte_like(text):
    return 1 + len(text.encode())


EACH = {"word pieces": word_pieces, "big vocabulary": big_vocabulary, "bytes": byte_like}
