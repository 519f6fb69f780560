"""Cheats are recognised, with their evidence, and no honest server is called one."""

from dataclasses import replace

import pytest

from probe_ext.inspection.scout.cheats import MIN_PAIRS, suspicion
from probe_ext.inspection.scout.samples import Pair, Sample
from scripts.scout.honest import CHEATS, Model, counts_truly, honest, look, telling

TOKENS = 32


def sample(whole: float = 1.0, span: float | None = 0.9, text: str = "a b c", tokens: int | None = TOKENS) -> Sample:
    return Sample(True, TOKENS, tokens, text, "length", whole, 0.1, span)


PRIMER = sample()
CACHED = sample(whole=0.01, span=0.0)
PAIR = Pair(sample(text="new"), CACHED, TOKENS, 0.0)


def signs(pair: Pair, count: int = MIN_PAIRS, primer: Sample | None = PRIMER) -> list[str]:
    return [sign.name for sign in suspicion(primer, [pair] * count, [], obeys=None).signs]


@pytest.mark.untraced
def test_none_of_200_honest_servers_is_called_a_cheat() -> None:
    called = {(n, honest(n).name): look(honest(n), None, n)[0].signs for n in range(200)}
    assert {key: found for key, found in called.items() if found} == {}


def test_true_token_counts_of_honest_servers_are_not_called_wrong() -> None:
    honest_ones = [(n, honest(n)) for n in range(200)]
    wrong = [(n, look(m, None, n)[1].evidence) for n, m in honest_ones if counts_truly(m)]
    assert [entry for entry in wrong if entry[1]] == []


def test_the_honest_servers_are_of_every_kind_and_some_answer_in_a_word() -> None:
    models = [honest(n) for n in range(200)]
    assert len({model.name for model in models}) >= 15
    assert sum(model.length[1] <= 4 and not model.obeys for model in models) >= 20


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_each_cheat_is_found_on_most_servers_that_count_and_stream(cheat: object) -> None:
    found = [look(telling(honest(n)), cheat, n)[0].signs for n in range(60)]  # type: ignore[arg-type]
    assert sum(bool(one) for one in found) >= 30
    assert all(sign.evidence.endswith(".") for one in found for sign in one)


def test_a_cache_is_told_with_its_evidence() -> None:
    (sign,) = suspicion(PRIMER, [PAIR] * MIN_PAIRS, [], obeys=None).signs
    assert sign.name == "response cache"
    assert "4 repeated prompts got the same text as before" in sign.evidence
    assert "all their tokens arrived at once" in sign.evidence
    assert "they took at most 10 ms, new ones 1.0 s or more" in sign.evidence
    assert "counter of generated tokens did not grow for them" in sign.evidence


@pytest.mark.parametrize(
    "pair",
    [
        replace(PAIR, fresh_generated=None, repeat_generated=None),  # no metrics, but faster than a single token
        replace(PAIR, repeat=replace(CACHED, whole=0.9)),  # a slow way, but not generated, and at once
        replace(PAIR, fresh=sample(span=0.0, text="new"), repeat=CACHED),  # behind a collecting proxy, not generated
    ],
    ids=["no counters", "slow way", "collecting proxy"],
)
def test_a_cache_is_told_in_every_setting(pair: Pair) -> None:
    assert signs(pair) == ["response cache"]


@pytest.mark.parametrize(
    "pair",
    [
        replace(PAIR, repeat=replace(CACHED, text="another")),  # sampled anew
        replace(PAIR, repeat=sample(whole=0.2), repeat_generated=TOKENS),  # a prefix cache: only the first token sooner
        replace(PAIR, repeat=sample()),  # a counter of another replica
        replace(PAIR, fresh_generated=0.0, repeat=sample(whole=0.2)),  # a counter that does not move
        replace(PAIR, repeat_generated=TOKENS),  # drafts from earlier outputs: fast, but generated
        replace(PAIR, fresh_generated=None, repeat=sample(whole=0.1, span=0.05)),  # the same without metrics
        replace(PAIR, repeat=replace(CACHED, tokens=3), fresh=sample(tokens=3)),  # "Paris."
        replace(PAIR, repeat=replace(CACHED, tokens=None)),
        replace(PAIR, repeat=replace(CACHED, ok=False)),
    ],
    ids=[
        "another text",
        "prefix cache",
        "replica",
        "frozen counter",
        "drafts",
        "drafts, no metrics",
        "short",
        "uncounted",
        "failed",
    ],
)
def test_what_an_honest_server_may_do_is_no_cache(pair: Pair) -> None:
    assert signs(pair) == []


def test_too_few_pairs_prove_nothing_and_say_so() -> None:
    found = suspicion(PRIMER, [PAIR] * (MIN_PAIRS - 1), [], obeys=None)
    assert found.signs == ()
    assert "3 pairs of prompts so far" in found.notes[0]


def cut(tokens: int = 1, finish: str = "stop", text: str = "1") -> Sample:
    return Sample(True, 64, tokens, text, finish, 0.1, 0.1, 0.0)


@pytest.mark.parametrize(
    ("answer", "obeys", "expected"),
    [
        (cut(finish="length"), None, True),
        (cut(), True, True),
        (cut(), False, False),  # a gateway that strips parameters, and a model of one word
        (cut(), None, False),
        (cut(tokens=5, finish="length", text="1 2 3 4 5"), None, False),  # a limit of its own
        (cut(finish="length", text="x" * 200), True, False),  # usage that counts wrong
        (cut(tokens=64, finish="length", text="1 2 3"), True, False),
    ],
)
def test_cut_answers_need_a_contradiction(answer: Sample, obeys: bool | None, expected: bool) -> None:
    found = suspicion(None, [], [answer] * 16, obeys=obeys)
    assert [sign.name for sign in found.signs] == (["cut answers"] if expected else [])


def test_thinking_that_is_not_shown_is_no_cut_answer() -> None:
    pair = replace(PAIR, fresh=replace(cut(finish="length"), asked=32), fresh_generated=32.0)
    found = suspicion(None, [pair] * 4, [cut(finish="length")] * 16, obeys=True)
    assert found.signs == ()
    assert any("hidden thinking" in note for note in found.notes)


def test_a_model_of_few_words_is_noted_as_not_tellable() -> None:
    model = Model("one word", 0.001, 0.0001, 0.01, length=(1, 2), obeys=False, same_text=True)
    found, _ = look(model, None, 1)
    assert found.signs == ()
    assert any("a model that answers briefly looks the same" in note for note in found.notes)
