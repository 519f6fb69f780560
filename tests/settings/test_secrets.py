"""The API key comes from the environment and fits into a header."""

import pytest

from probe_ext.settings.secrets import API_KEY_VARIABLE, api_key, has_api_key


@pytest.mark.parametrize(("value", "key"), [("", None), ("  ", None), (" sk-1 ", "sk-1")])
def test_reads_the_key(monkeypatch: pytest.MonkeyPatch, value: str, key: str | None) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, value)
    assert api_key() == key
    assert has_api_key() is (key is not None)


def test_unset_variable_means_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
    assert api_key() is None
    assert not has_api_key()


@pytest.mark.parametrize("value", ["sk-ü", "sk-1\r\nX-Evil: 1"])
def test_rejects_a_key_that_no_header_can_carry(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, value)
    with pytest.raises(ValueError, match=API_KEY_VARIABLE):
        api_key()
