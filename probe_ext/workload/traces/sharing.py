"""How much of a trace's prompts is text that an earlier request has sent as well: what a prefix cache could hold."""

from collections.abc import Iterable, Sequence

from probe_ext.workload.traces.trace import TraceRequest


def shared_tokens(requests: Iterable[TraceRequest], block_tokens: float) -> list[int]:
    """Return for each request the tokens at the start of its prompt that earlier ones began with, in whole blocks.

    Counted as by a prefix cache that forgets nothing: block after block from the start, until one is new. The last
    block of a prompt may be shorter, and is then shared with an equally long one.
    """
    seen: set[tuple[int, int]] = set()
    shared = []
    for request in requests:
        lengths = block_lengths(request, block_tokens)
        known, still_shared = 0.0, True
        for block, tokens in zip(request.blocks, lengths, strict=False):
            key = block, round(tokens)
            still_shared = still_shared and key in seen
            known += tokens if still_shared else 0
            seen.add(key)
        shared.append(round(known))
    return shared


def block_lengths(request: TraceRequest, block_tokens: float) -> Sequence[float]:
    """Return the tokens of each of a prompt's blocks; the last one ends with the prompt.

    Blocks for which the prompt has no room left are dropped: a recording may count its blocks in characters.
    """
    lengths = []
    left = float(request.tokens_in)
    for _ in request.blocks:
        if left <= 0:
            break
        lengths.append(min(block_tokens, left))
        left -= lengths[-1]
    return lengths
