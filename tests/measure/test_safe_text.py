"""Text from servers becomes short, printable and free of the key."""

from hypothesis import given
from hypothesis import strategies as st

from probe_ext.measure.safe_text import MAX_MESSAGE_LENGTH, safe_text


def test_removes_the_key_everywhere() -> None:
    assert safe_text("Bearer sk-abc is wrong: sk-abc", "sk-abc") == "Bearer *** is wrong: ***"


def test_removes_the_key_before_shortening() -> None:
    result = safe_text("x" * (MAX_MESSAGE_LENGTH - 6) + "sk-abcdefgh and more", "sk-abcdefgh")
    assert "sk-" not in result
    far = safe_text(" " * (20 * MAX_MESSAGE_LENGTH - 3) + "sk-abcdefgh", "sk-abcdefgh")
    assert "sk" not in far


def test_control_characters_and_line_ends_become_single_spaces() -> None:
    assert safe_text("a\r\n\tb\x00\x1b[31mc\u202e\u200bd\u2028e") == "a b [31mc d e"


def test_shortens_long_text_with_an_ellipsis() -> None:
    result = safe_text("y" * 5000)
    assert len(result) == MAX_MESSAGE_LENGTH
    assert result.endswith("…")
    assert safe_text("y" * MAX_MESSAGE_LENGTH) == "y" * MAX_MESSAGE_LENGTH


def test_keeps_markup_as_text() -> None:
    assert safe_text("<script>alert(1)</script>") == "<script>alert(1)</script>"


def test_removes_nothing_without_a_key() -> None:
    assert safe_text("plain words", "") == "plain words"
    assert safe_text("plain words", None) == "plain words"


@given(st.text(max_size=600), st.text(max_size=600), st.integers(0, 3))
def test_any_text_becomes_one_short_printable_line_without_the_key(before: str, after: str, times: int) -> None:
    key = "sk-Q7-unlikely"
    result = safe_text(before + key * times + after, key)
    assert len(result) <= MAX_MESSAGE_LENGTH
    assert result.isprintable()
    assert key not in result
