"""Prompts: the same everywhere for one seed, like no other from the first words on, and as long as asked."""

import subprocess
import sys
from collections import Counter

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from probe_ext.prompts.composer import TooShortError
from probe_ext.prompts.conversation import ChatMaker
from probe_ext.prompts.length_model import guessed, measured
from probe_ext.prompts.phrases import REQUESTS, bricks
from probe_ext.prompts.synthetic import PromptMaker
from probe_ext.prompts.word_list import words

MODELS = {name: measured(count, "tokenize", bricks(7)) for name, count in tokenizers.EACH.items()}


def head(text, n=8):
    return tuple(text.split(" ")[:n])


def test_the_words_are_many_short_and_different():
    assert len(words()) > 1000
    assert len(set(words())) == len(words())
    assert all(word.isascii() and word.isalpha() and word.islower() and len(word) <= 8 for word in words())


def test_any_process_makes_the_same_prompts():
    code = (
        "from probe_ext.prompts.synthetic import PromptMaker; from probe_ext.prompts.length_model import guessed;"
        "print(PromptMaker(7, 200, guessed(), shared_prefix_tokens=50).prompt(3, 5).text, end='')"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert other.stdout == PromptMaker(7, 200, guessed(), shared_prefix_tokens=50).prompt(3, 5).text


def test_order_and_company_do_not_matter():
    one, other = PromptMaker(7, 100, guessed()), PromptMaker(7, 100, guessed())
    forward = [one.prompt(u, n) for u in range(5) for n in range(5)]
    backward = [other.prompt(u, n) for u in reversed(range(5)) for n in reversed(range(5))]
    assert forward == backward[::-1]


@pytest.mark.untraced
@pytest.mark.parametrize("model", [*MODELS.values(), guessed()], ids=[*MODELS, "guessed"])
def test_ten_thousand_prompts_part_within_the_first_words(model):
    maker = PromptMaker(7, 400, model)
    heads = [head(maker.prompt(user, number).text) for user in range(100) for number in range(100)]
    assert len(set(heads)) == 10_000
    most = Counter(first for first, *_ in heads).most_common(1)[0][1]
    assert most < 10_000 / len(model.sure) * 5 + 10, "first words spread over the whole alphabet"
    assert len({h[:3] for h in heads}) > 9_700


@pytest.mark.untraced
def test_seeds_share_no_beginnings():
    heads = [head(PromptMaker(seed, 100, guessed()).prompt(0, 0).text, 4) for seed in range(200)]
    assert len(set(heads)) == 200


@settings(max_examples=60, deadline=None)
@given(
    a=st.tuples(st.integers(0, 2**30 - 1), st.integers(0, 2**20 - 1)),
    b=st.tuples(st.integers(0, 2**30 - 1), st.integers(0, 2**20 - 1)),
)
def test_two_beginnings_are_never_one(a, b):
    maker = PromptMaker(1, 100, guessed())
    same = head(maker.prompt(*a).text, 5) == head(maker.prompt(*b).text, 5)
    assert same == (a == b)


@pytest.mark.parametrize("kind", tokenizers.EACH)
@pytest.mark.parametrize("asked", [150, 333, 1024, 8000])
def test_length_within_three_tokens_or_two_percent(kind, asked):
    count = tokenizers.EACH[kind]
    maker = PromptMaker(7, asked, MODELS[kind])
    for user in range(60):
        assert abs(count(maker.prompt(user, user).text) - asked) <= max(3, 0.02 * asked) / (1 if asked < 500 else 5)


@settings(max_examples=50, deadline=None)
@given(
    asked=st.integers(90, 3000), user=st.integers(0, 10_000), number=st.integers(0, 10_000), shared=st.integers(0, 30)
)
def test_length_at_any_place(asked, user, number, shared):
    for kind, count in tokenizers.EACH.items():
        maker = PromptMaker(7, asked, MODELS[kind], shared_prefix_tokens=shared)
        assert abs(count(maker.prompt(user, number).text) - asked) <= 5, kind


def test_calibration_takes_few_calls():
    calls = []
    measured(lambda text: calls.append(text) or tokenizers.big_vocabulary(text), "tokenize", bricks(7))
    assert len(calls) < 60
    calls.clear()
    measured(lambda text: calls.append(text) or tokenizers.word_pieces(text), "tokenize", bricks(7))
    assert len(calls) < 130


def test_a_dozen_samples_do_where_each_is_a_generation():
    calls = []
    model = measured(lambda text: calls.append(text) or tokenizers.word_pieces(text), "usage", bricks(7), samples=12)
    assert len(calls) <= 14
    assert model.counted_by == "usage"
    text = PromptMaker(7, 1000, model).prompt(1, 1).text
    assert tokenizers.word_pieces(text) == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize("count", [lambda text: None, lambda text: 0, lambda text: 12, lambda text: -len(text)])
def test_counts_that_tell_nothing_end_in_a_guess_that_says_so(count):
    assert measured(count, "tokenize", bricks(7)) == guessed()
    assert guessed().counted_by == "characters"


def test_a_count_that_fails_halfway_ends_in_a_guess():
    seen = []
    count = lambda text: None if seen.append(text) or len(seen) > 9 else len(text)  # noqa: E731
    assert measured(count, "tokenize", bricks(7)) == guessed()


def test_the_guess_is_four_characters_a_token():
    text = PromptMaker(7, 500, guessed()).prompt(0, 0).text
    assert len(text) / 4 == pytest.approx(500, abs=3)


def test_a_shared_prefix_is_shared_and_measured():
    count = tokenizers.word_pieces
    maker = PromptMaker(7, 1024, MODELS["word pieces"], shared_prefix_tokens=896)
    texts = [maker.prompt(user, 0).text for user in range(20)]
    common = texts[0][: next(i for i, letters in enumerate(zip(*texts, strict=False)) if len(set(letters)) > 1)]
    assert abs(count(common) - tokenizers.TEMPLATE - 896) <= 5
    assert all(abs(count(text) - 1024) <= 5 for text in texts)


def test_prompts_ask_for_a_long_answer():
    assert PromptMaker(7, 200, guessed()).prompt(0, 0).text.endswith(REQUESTS[0])


def test_one_text_serves_both_ways_of_asking():
    prompt = PromptMaker(7, 200, guessed()).prompt(0, 0)
    assert prompt.messages == ({"role": "user", "content": prompt.text},)
    assert prompt.asked_tokens == 200


@pytest.mark.parametrize(("asked", "shared"), [(1, 0), (-5, 0), (300, 290)])
def test_too_short_is_refused_by_name(asked, shared):
    with pytest.raises(TooShortError, match=f"input_tokens: {asked} is too short: the chat template, {shared} shared"):
        PromptMaker(7, asked, MODELS["word pieces"], shared_prefix_tokens=shared)


def test_a_chat_grows_and_counts():
    maker = ChatMaker(7, 40, MODELS["big vocabulary"], system_tokens=100)
    chat = maker.chat(3, 0)
    first = chat.ask()
    assert [m["role"] for m in first.messages] == ["system", "user"]
    assert first.text is None
    assert tokenizers.big_vocabulary(" ".join(m["content"] for m in first.messages)) == pytest.approx(
        first.asked_tokens, abs=3
    )
    chat.answered("so it was", tokens_in=170, tokens_out=50)
    second = chat.ask()
    assert [m["role"] for m in second.messages] == ["system", "user", "assistant", "user"]
    assert second.asked_tokens == 170 + 50 + 40
    assert second.messages[:2] == first.messages
    assert len(first.messages) == 2, "what was handed out does not grow afterwards"


def test_chats_share_the_system_prompt():
    shared = ChatMaker(7, 40, guessed(), system_tokens=100)
    assert len({shared.chat(u, n).ask().messages[0]["content"] for u in range(5) for n in range(5)}) == 1


def test_questions_never_repeat():
    maker = ChatMaker(7, 60, guessed())
    questions = []
    for user in range(10):
        for number in range(10):
            chat = maker.chat(user, number)
            for _ in range(5):
                questions.append(head(chat.ask().messages[-1]["content"], 4))
                chat.answered("yes")
    assert len(set(questions)) == 500
