"""What servers say reaches rows short, printable and without the key."""

from hypothesis import given
from hypothesis import strategies as st

from probe_ext.client.safe_text import MESSAGE_LENGTH, safe_text


def test_the_key_is_taken_out_wherever_it_stands() -> None:
    assert safe_text("Bearer sk-abc is wrong: sk-abc", "sk-abc") == "Bearer *** is wrong: ***"


def test_the_key_is_taken_out_before_the_text_is_shortened() -> None:
    said = safe_text("x" * (MESSAGE_LENGTH - 6) + "sk-abcdefgh and more", "sk-abcdefgh")
    assert "sk-" not in said
    far = safe_text(" " * (20 * MESSAGE_LENGTH - 3) + "sk-abcdefgh", "sk-abcdefgh")
    assert "sk" not in far


def test_control_characters_and_line_ends_become_single_spaces() -> None:
    assert safe_text("a\r\n\tb\x00\x1b[31mc\u202e\u200bd\u2028e") == "a b [31mc d e"


def test_a_long_text_is_cut_and_says_so() -> None:
    said = safe_text("y" * 5000)
    assert len(said) == MESSAGE_LENGTH
    assert said.endswith("…")
    assert safe_text("y" * MESSAGE_LENGTH) == "y" * MESSAGE_LENGTH


def test_markup_stays_the_text_that_it_is() -> None:
    assert safe_text("<script>alert(1)</script>") == "<script>alert(1)</script>"


def test_without_a_key_nothing_is_taken_out() -> None:
    assert safe_text("plain words", "") == "plain words"
    assert safe_text("plain words", None) == "plain words"


@given(st.text(max_size=600), st.text(max_size=600), st.integers(0, 3))
def test_whatever_is_said_the_result_is_one_short_printable_line_without_the_key(
    before: str, after: str, times: int
) -> None:
    key = "sk-Q7-unlikely"
    said = safe_text(before + key * times + after, key)
    assert len(said) <= MESSAGE_LENGTH
    assert said.isprintable()
    assert key not in said
