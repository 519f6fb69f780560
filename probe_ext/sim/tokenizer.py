"""The simulator's tokenizer: one token per piece of at most four characters.

The rule, in full: a token is up to four characters without white space, with one blank before them if there is one;
any other white space character is a token of its own. A chat message costs its role, its text and four marks more
(``<start>role\\ntext<end>\\n``), and the prompt ends with the head of the answer (``<start>assistant\\n``), which is
the shape of ChatML (https://huggingface.co/Qwen/Qwen2.5-7B-Instruct, ``chat_template``).

A generated token is a word of at most four letters, so every one of them is again exactly one token when the answer
is sent back as history. A piece's number ignores the blank before it, so an answer whose outer blanks were stripped
still hits the prefix cache.
"""

import re
import zlib
from collections.abc import Sequence

PIECE = re.compile(r" ?\S{1,4}|\s")
VOCABULARY_SIZE = 150_000
START, END, NEWLINE, EOS = 150_000, 150_001, 150_002, 150_003

_known: dict[str, int] = {"\n": NEWLINE}


def _number(piece: str) -> int:
    bare = piece.lstrip(" ") or piece
    number = _known.get(bare)
    if number is None:
        number = zlib.crc32(bare.encode("utf-8", "surrogatepass")) % VOCABULARY_SIZE
        if len(_known) < VOCABULARY_SIZE:
            _known[bare] = number
    return number


def encode(text: str) -> list[int]:
    """Token numbers of plain text."""
    return [_number(piece) for piece in PIECE.findall(text)]


def encode_chat(messages: Sequence[tuple[str, str]], answer_head: bool = True) -> list[int]:
    """Token numbers of (role, text) messages, marks included; with the head of the answer unless told otherwise."""
    ids: list[int] = []
    for role, text in messages:
        ids += [START, *encode(role), NEWLINE, *encode(text), END, NEWLINE]
    return [*ids, START, *encode("assistant"), NEWLINE] if answer_head else ids


def _words() -> tuple[str, ...]:
    heads = ["b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "st"]
    open_syllables = [head + vowel for head in heads for vowel in "aeiou"]
    closed = [syllable + tail for syllable in open_syllables if len(syllable) == 2 for tail in ("n", "r", "st")]
    # By number, so that no two words are the same token.
    return tuple({_number(word): word for word in open_syllables + closed}.values())


WORDS: tuple[str, ...] = _words()
WORD_IDS: tuple[int, ...] = tuple(_number(word) for word in WORDS)
FIRST_TEXT: tuple[str, ...] = WORDS
NEXT_TEXT: tuple[str, ...] = tuple(" " + word for word in WORDS)
