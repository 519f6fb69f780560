"""A request as a file states it, before sessions are numbered and times are checked."""

from dataclasses import dataclass
from hashlib import blake2b

_MAX_SMALL = 2**63


@dataclass(frozen=True, slots=True)
class RawRequest:
    """One line of a trace."""

    line: int
    at: float
    """seconds, from whatever moment the file counts"""
    session: str | None
    """None: a session of its own"""
    tokens_in: int
    tokens_out: int
    blocks: tuple[int, ...] = ()


def block_number(block_hash: int | str) -> int:
    """Return a number of 63 bits that stands for a hash of any form."""
    if isinstance(block_hash, int) and 0 <= block_hash < _MAX_SMALL:
        return block_hash
    return int.from_bytes(blake2b(str(block_hash).encode(), digest_size=8).digest()) >> 1
