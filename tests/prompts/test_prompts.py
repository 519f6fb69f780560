"""Prompts are reproducible, have unique beginnings and the requested length."""

import random
import subprocess
import sys
from collections import Counter

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.prompts.composer import TooShortError, composer
from probe_ext.prompts.conversation import ChatMaker
from probe_ext.prompts.length_model import estimated_model, measured_model
from probe_ext.prompts.phrases import INSTRUCTIONS, phrases_of
from probe_ext.prompts.synthetic import PromptMaker
from probe_ext.prompts.word_list import words

MODELS = {name: measured_model(count, "tokenize", phrases_of(7)) for name, count in tokenizers.EACH.items()}


def beginning(text, n=8):
    return tuple(text.split(" ")[:n])


def test_words_are_many_short_and_distinct():
    assert len(words()) > 1000
    assert len(set(words())) == len(words())
    assert all(word.isascii() and word.isalpha() and word.islower() and len(word) <= 8 for word in words())


def test_every_process_makes_the_same_prompts():
    code = (
        "from probe_ext.prompts.synthetic import PromptMaker;"
        "from probe_ext.prompts.length_model import estimated_model;"
        "print(PromptMaker(7, 200, estimated_model(), shared_prefix_tokens=50).prompt(3, 5).text, end='')"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert other.stdout == PromptMaker(7, 200, estimated_model(), shared_prefix_tokens=50).prompt(3, 5).text


def test_prompts_do_not_depend_on_order():
    first, second = PromptMaker(7, 100, estimated_model()), PromptMaker(7, 100, estimated_model())
    forward = [first.prompt(u, n) for u in range(5) for n in range(5)]
    backward = [second.prompt(u, n) for u in reversed(range(5)) for n in reversed(range(5))]
    assert forward == backward[::-1]


@pytest.mark.untraced
@pytest.mark.parametrize("model", [*MODELS.values(), estimated_model()], ids=[*MODELS, "estimated"])
def test_ten_thousand_prompts_have_unique_beginnings(model):
    maker = PromptMaker(7, 400, model)
    beginnings = [beginning(maker.prompt(user, number).text) for user in range(100) for number in range(100)]
    assert len(set(beginnings)) == 10_000
    most_common = Counter(first for first, *_ in beginnings).most_common(1)[0][1]
    assert most_common < 10_000 / len(model.vocabulary) * 5 + 10, "first words are spread over the vocabulary"
    assert len({b[:3] for b in beginnings}) > 9_700


@pytest.mark.untraced
def test_seeds_have_different_beginnings():
    beginnings = [beginning(PromptMaker(seed, 100, estimated_model()).prompt(0, 0).text, 4) for seed in range(200)]
    assert len(set(beginnings)) == 200


@given(
    a=st.tuples(st.integers(0, 2**30 - 1), st.integers(0, 2**20 - 1)),
    b=st.tuples(st.integers(0, 2**30 - 1), st.integers(0, 2**20 - 1)),
)
def test_beginnings_are_unique(a, b):
    maker = PromptMaker(1, 100, estimated_model())
    same = beginning(maker.prompt(*a).text, 5) == beginning(maker.prompt(*b).text, 5)
    assert same == (a == b)


@pytest.mark.parametrize("kind", tokenizers.EACH)
@pytest.mark.parametrize("length", [150, 333, 1024, 8000])
def test_length_is_within_three_tokens_or_two_percent(kind, length):
    count = tokenizers.EACH[kind]
    maker = PromptMaker(7, length, MODELS[kind])
    for user in range(30):
        assert abs(count(maker.prompt(user, user).text) - length) <= max(3, 0.02 * length) / (1 if length < 500 else 5)


@given(
    length=st.integers(90, 3000), user=st.integers(0, 10_000), number=st.integers(0, 10_000), shared=st.integers(0, 30)
)
def test_length_is_exact_for_any_prompt(length, user, number, shared):
    for kind, count in tokenizers.EACH.items():
        maker = PromptMaker(7, length, MODELS[kind], shared_prefix_tokens=shared)
        assert abs(count(maker.prompt(user, number).text) - length) <= 5, kind


def test_measuring_takes_few_calls():
    calls = []
    measured_model(lambda text: calls.append(text) or tokenizers.big_vocabulary(text), "tokenize", phrases_of(7))
    assert len(calls) < 60
    calls.clear()
    measured_model(lambda text: calls.append(text) or tokenizers.word_pieces(text), "tokenize", phrases_of(7))
    assert len(calls) < 130


def test_a_dozen_samples_are_enough():
    calls = []
    model = measured_model(
        lambda text: calls.append(text) or tokenizers.word_pieces(text), "usage", phrases_of(7), samples=12
    )
    assert len(calls) <= 14
    assert model.counted_by == "usage"
    text = PromptMaker(7, 1000, model).prompt(1, 1).text
    assert tokenizers.word_pieces(text) == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize("count", [lambda text: None, lambda text: 0, lambda text: 12, lambda text: -len(text)])
def test_useless_counts_give_the_estimated_model(count):
    assert measured_model(count, "tokenize", phrases_of(7)) == estimated_model()
    assert estimated_model().counted_by == "characters"


def test_a_failing_count_gives_the_estimated_model():
    calls = []
    count = lambda text: None if calls.append(text) or len(calls) > 9 else len(text)  # noqa: E731
    assert measured_model(count, "tokenize", phrases_of(7)) == estimated_model()


def test_the_estimate_is_four_characters_per_token():
    text = PromptMaker(7, 500, estimated_model()).prompt(0, 0).text
    assert len(text) / 4 == pytest.approx(500, abs=3)


def test_a_shared_prefix_is_shared_and_has_its_length_model():
    count = tokenizers.word_pieces
    maker = PromptMaker(7, 1024, MODELS["word pieces"], shared_prefix_tokens=896)
    texts = [maker.prompt(user, 0).text for user in range(20)]
    common = texts[0][: next(i for i, letters in enumerate(zip(*texts, strict=False)) if len(set(letters)) > 1)]
    assert abs(count(common) - tokenizers.TEMPLATE - 896) <= 5
    assert all(abs(count(text) - 1024) <= 5 for text in texts)


def test_prompts_request_a_long_answer():
    assert PromptMaker(7, 200, estimated_model()).prompt(0, 0).text.endswith(INSTRUCTIONS[0])


def test_a_prompt_works_with_both_apis():
    prompt = PromptMaker(7, 200, estimated_model()).prompt(0, 0)
    assert prompt.messages == ({"role": "user", "content": prompt.text},)
    assert prompt.asked_tokens == 200


@pytest.mark.parametrize(("length", "shared"), [(1, 0), (-5, 0), (300, 290)])
def test_rejects_a_length_that_is_too_short(length, shared):
    with pytest.raises(TooShortError, match=f"too short: chat template, {shared} shared prefix tokens"):
        PromptMaker(7, length, MODELS["word pieces"], shared_prefix_tokens=shared)


def test_a_chat_grows_and_tracks_its_length():
    maker = ChatMaker(7, 40, MODELS["big vocabulary"], system_tokens=100)
    chat = maker.chat(3, 0)
    first = chat.ask()
    assert [m["role"] for m in first.messages] == ["system", "user"]
    assert first.text is None
    assert tokenizers.big_vocabulary(" ".join(m["content"] for m in first.messages)) == pytest.approx(
        first.asked_tokens, abs=3
    )
    chat.answered("an answer", tokens_in=170, tokens_out=50)
    second = chat.ask()
    assert [m["role"] for m in second.messages] == ["system", "user", "assistant", "user"]
    assert second.asked_tokens == 170 + 50 + 40
    assert second.messages[:2] == first.messages
    assert len(first.messages) == 2, "earlier prompts do not change"


def test_chats_share_the_system_prompt():
    maker = ChatMaker(7, 40, estimated_model(), system_tokens=100)
    assert len({maker.chat(u, n).ask().messages[0]["content"] for u in range(5) for n in range(5)}) == 1


def test_questions_are_unique():
    maker = ChatMaker(7, 60, estimated_model())
    questions = []
    for user in range(10):
        for number in range(10):
            chat = maker.chat(user, number)
            for _ in range(5):
                questions.append(beginning(chat.ask().messages[-1]["content"], 4))
                chat.answered("yes")
    assert len(set(questions)) == 500


@pytest.mark.parametrize("tokens", [0, 3, 40, 777])
def test_texts_are_drawn_as_the_standard_library_does(tokens: int) -> None:
    made = composer(7, estimated_model())
    one, other = random.Random("seed"), random.Random("seed")
    pieces: list[str] = []
    left = tokens + 0.5
    while (cost := made._costs[piece := other.choice(made._phrases)]) <= left:
        pieces, left = [*pieces, piece], left - cost
    while left >= made._min_filler_cost:
        if (cost := made._costs[piece := other.choice(made._fillers)]) <= left:
            pieces, left = [*pieces, piece], left - cost
    assert made.fill(one, tokens) == " ".join(pieces)
    assert one.random() == other.random()  # as many draws
