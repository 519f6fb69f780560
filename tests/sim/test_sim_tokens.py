"""The tokenizer's rule, and that a generated token is one token again."""

from hypothesis import given
from hypothesis import strategies as st

from probe_ext.sim.tokenizer import FIRST_TEXT, NEXT_TEXT, WORD_IDS, encode, encode_chat


def test_the_rule_by_example() -> None:
    assert len(encode("hello world")) == 4  # hell|o| worl|d
    assert len(encode("a b  c\nd")) == 6  # a| b|blank| c|newline|d
    assert encode("") == []


@given(st.lists(st.integers(0, len(WORD_IDS) - 1), min_size=1, max_size=50))
def test_a_generated_answer_counts_as_many_tokens_as_it_has(words: list[int]) -> None:
    text = FIRST_TEXT[words[0]] + "".join(NEXT_TEXT[word] for word in words[1:])
    assert encode(text) == [WORD_IDS[word] for word in words]


def test_no_two_words_share_a_number() -> None:
    assert len(set(WORD_IDS)) == len(WORD_IDS)


@given(st.text())
def test_any_text_can_be_counted(text: str) -> None:
    assert len(encode(text)) <= len(text)


def test_a_message_costs_its_role_its_text_and_four_marks() -> None:
    assert len(encode_chat([("user", "one two")], add_generation_prompt=False)) == 1 + 2 + 4
    assert len(encode_chat([("user", "one two")])) == 7 + 5  # and the head of the answer


def test_a_longer_conversation_starts_like_the_shorter_one() -> None:
    first = encode_chat([("user", "one two")])
    second = encode_chat([("user", "one two"), ("assistant", "ban best"), ("user", "more")])
    assert second[: len(first)] == first
