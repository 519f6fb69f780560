"""The simulator's tokenizer: one token per piece of at most four characters.

A token is up to four non-whitespace characters, including one space before them if there is one; any other whitespace
character is a token of its own. A chat message is tokenized as ``<start>role\\ntext<end>\\n``, which adds four tokens
to role and text, and the prompt ends with ``<start>assistant\\n``: the format of ChatML
(https://huggingface.co/Qwen/Qwen2.5-7B-Instruct, ``chat_template``).

A generated token is a word of at most four letters, so that it is exactly one token again when the reply is sent back
as history. The space before a piece does not change its id, so a reply whose outer spaces were stripped still hits the
prefix cache.
"""

import re
import zlib
from collections.abc import Sequence

PIECE = re.compile(r" ?\S{1,4}|\s")
VOCABULARY_SIZE = 150_000
START, END, NEWLINE, EOS = 150_000, 150_001, 150_002, 150_003

_ids_by_piece: dict[str, int] = {"\n": NEWLINE}


def _token_id(piece: str) -> int:
    bare = piece.lstrip(" ") or piece
    token_id = _ids_by_piece.get(bare)
    if token_id is None:
        token_id = zlib.crc32(bare.encode("utf-8", "surrogatepass")) % VOCABULARY_SIZE
        if len(_ids_by_piece) < VOCABULARY_SIZE:
            _ids_by_piece[bare] = token_id
    return token_id


def encode(text: str) -> list[int]:
    """Return the token ids of plain text."""
    return [_token_id(piece) for piece in PIECE.findall(text)]


def encode_chat(messages: Sequence[tuple[str, str]], add_generation_prompt: bool = True) -> list[int]:
    """Return the token ids of (role, text) messages in the chat template."""
    ids: list[int] = []
    for role, text in messages:
        ids += [START, *encode(role), NEWLINE, *encode(text), END, NEWLINE]
    return [*ids, START, *encode("assistant"), NEWLINE] if add_generation_prompt else ids


def _words() -> tuple[str, ...]:
    onsets = ["b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "st"]
    open_syllables = [onset + vowel for onset in onsets for vowel in "aeiou"]
    closed = [syllable + coda for syllable in open_syllables if len(syllable) == 2 for coda in ("n", "r", "st")]
    # Keyed by token id, so that no two words are the same token.
    return tuple({_token_id(word): word for word in open_syllables + closed}.values())


WORDS: tuple[str, ...] = _words()
WORD_IDS: tuple[int, ...] = tuple(_token_id(word) for word in WORDS)
FIRST_TEXT: tuple[str, ...] = WORDS
NEXT_TEXT: tuple[str, ...] = tuple(" " + word for word in WORDS)
