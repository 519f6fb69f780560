"""The tokenizer, and that generated tokens survive a round trip."""

from hypothesis import given
from hypothesis import strategies as st

from probe_ext.sim.tokenizer import FIRST_TEXT, NEXT_TEXT, WORD_IDS, encode, encode_chat


def test_tokenization_examples() -> None:
    assert len(encode("hello world")) == 4  # hell|o| worl|d
    assert len(encode("a b  c\nd")) == 6  # a| b|space| c|newline|d
    assert encode("") == []


@given(st.lists(st.integers(0, len(WORD_IDS) - 1), min_size=1, max_size=50))
def test_a_generated_reply_tokenizes_to_the_same_tokens(words: list[int]) -> None:
    text = FIRST_TEXT[words[0]] + "".join(NEXT_TEXT[word] for word in words[1:])
    assert encode(text) == [WORD_IDS[word] for word in words]


def test_no_two_words_share_a_token_id() -> None:
    assert len(set(WORD_IDS)) == len(WORD_IDS)


@given(st.text())
def test_any_text_can_be_tokenized(text: str) -> None:
    assert len(encode(text)) <= len(text)


def test_a_chat_message_adds_four_tokens_to_role_and_text() -> None:
    assert len(encode_chat([("user", "one two")], add_generation_prompt=False)) == 1 + 2 + 4
    assert len(encode_chat([("user", "one two")])) == 7 + 5  # plus the generation prompt


def test_a_conversation_is_a_prefix_of_its_continuation() -> None:
    first = encode_chat([("user", "one two")])
    second = encode_chat([("user", "one two"), ("assistant", "ban best"), ("user", "more")])
    assert second[: len(first)] == first
