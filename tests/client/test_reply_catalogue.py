"""Every reply of the catalogue has the right outcome, text, counts and times, however it is decoded and split."""

from typing import Any

import pytest
from reply_catalogue import Entry, entries

from probe_ext.client import decoder
from probe_ext.client.event_pattern import PatternCache
from probe_ext.client.reply import Reply
from probe_ext.client.wire.http_framing import BadResponseError
from probe_ext.measure.outcome import Outcome

CATALOGUE = entries()
MIN_ENTRIES = 150


def values(reply: Reply) -> dict[str, Any]:
    """Return what entries may expect, and more."""
    pace, visible = reply.pace, reply.visible_pace
    return {
        "outcome": reply.outcome.value,
        "message": reply.message,
        "message_is": reply.message,
        "text": reply.text,
        "reasoning": reply.reasoning,
        "finish": reply.finish_reason,
        "streamed": reply.streamed,
        "choices": len(reply.choices),
        "tokens_in": reply.tokens_in,
        "tokens_out": reply.tokens_out,
        "tokens_from": reply.tokens_from,
        "tokens_cached": reply.tokens_cached,
        "tokens_reasoning": reply.tokens_reasoning,
        "tokens_first": pace.tokens_first if pace else None,
        "events": pace.events if pace else 0,
        "first": pace.first if pace else None,
        "first_visible": visible.first if visible else None,
        "tpot": pace.tpot if pace else None,
        "gap_tokens": pace.gap_tokens if pace else None,
        "held_max": pace.held_max if pace else None,
        "tokens_held": pace.tokens_held if pace else None,
        "delivery": reply.delivery,
        "tokens_claimed": reply.tokens_claimed,
        "via": reply.via,
        "reads_unresolved": reply.reads_unresolved,
    }


def test_the_catalogue_is_large_and_its_names_are_unique() -> None:
    assert len(CATALOGUE) >= MIN_ENTRIES
    assert len({entry.name for entry in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_each_reply_is_read_as_it_should_be(entry: Entry) -> None:
    result = values(entry.reply())
    for key, expected in entry.expect.items():
        if key == "message" and expected is not None:
            assert expected in (result["message"] or ""), result
        elif key == "tpot" and expected is not None:
            assert result[key] == pytest.approx(expected), result
        else:
            assert result[key] == expected, (key, result)


def without_times(result: dict[str, Any]) -> dict[str, Any]:
    """Leave out what depends on how bytes are grouped into reads."""
    times = {"first", "first_visible", "tpot", "reads_unresolved", "tokens_first"}
    times |= {"gap_tokens", "held_max", "tokens_held"}
    return {key: value for key, value in result.items() if key not in times}


each_file = pytest.mark.parametrize("file", sorted({entry.file for entry in CATALOGUE}))


def entries_of(file: str) -> list[Entry]:
    found = [entry for entry in CATALOGUE if entry.file == file]
    assert found
    return found


@pytest.mark.untraced
@pytest.mark.parametrize("cuts", [11, pytest.param(37, marks=pytest.mark.long)])
@each_file
def test_each_reply_reads_the_same_wherever_it_is_cut(file: str, cuts: int) -> None:
    for entry in entries_of(file):
        expected = without_times(values(entry.reply()))
        stream = b"".join(entry.wire())
        for cut in range(1, len(stream), max(1, len(stream) // cuts)):
            assert without_times(values(entry.reply([stream[:cut], stream[cut:]]))) == expected, (entry.name, cut)
        if len(stream) < 3000:
            single = [stream[k : k + 1] for k in range(len(stream))]
            assert without_times(values(entry.reply(single))) == expected, entry.name


class NoPatterns(PatternCache):
    """A cache that never learns."""

    def learn(self, *_: object) -> None:
        return None


def read_both_ways(entry: Entry, reads: list[bytes], ending: Outcome | None = None, batch: int = 3) -> list[Any]:
    """Parse reads with the JSON parser only, then with the patterns of the entry itself and in runs."""
    results = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "_MIN_READS_FOR_RUNS", 1)
        for cache, size in ((NoPatterns(), 1), (PatternCache(), batch)):
            patch.setattr(decoder, "PATTERN_CACHE", cache)
            entry.reply()
            try:
                results.append(values(entry.reply(reads, ending, size)))
            except (BadResponseError, AssertionError) as problem:  # no whole HTTP response
                results.append(str(problem))
    return results


@pytest.mark.untraced
@pytest.mark.parametrize("cuts", [6, pytest.param(19, marks=pytest.mark.long)])
@each_file
def test_fast_and_slow_decoding_give_the_same(file: str, cuts: int) -> None:
    for entry in entries_of(file):
        check_both_ways(entry, cuts)


def check_both_ways(entry: Entry, cuts: int) -> None:
    slow, fast = read_both_ways(entry, entry.chunks(), batch=1000)
    assert fast == slow, entry.name
    size = sum(map(len, entry.body))
    for cut in range(0, size, max(41, size // cuts)):
        before, parts = cut, list(entry.body)
        for index, part in enumerate(parts):
            if before < len(part):
                parts[index : index + 1] = [part[:before], part[before:]]
                break
            before -= len(part)
        slow, fast = read_both_ways(entry, entry.chunks(parts))
        assert fast == slow, (entry.name, cut)
