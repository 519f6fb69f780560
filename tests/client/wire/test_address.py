"""Parsing of `--host`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.client.wire.address import Target, parse_target


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://gpu-box:8000", Target(False, "gpu-box", 8000, "")),
        ("gpu-box:8000", Target(False, "gpu-box", 8000, "")),
        ("localhost", Target(False, "localhost", 80, "")),
        ("https://llm.example.org", Target(True, "llm.example.org", 443, "")),
        ("https://llm.example.org/", Target(True, "llm.example.org", 443, "")),
        ("https://gw.example.org/team/a", Target(True, "gw.example.org", 443, "/team/a")),
        ("https://gw.example.org/team/a/v1", Target(True, "gw.example.org", 443, "/team/a")),
        ("http://gpu-box:8000/v1/", Target(False, "gpu-box", 8000, "")),
        ("http://gpu-box:8000/v1/chat/completions", Target(False, "gpu-box", 8000, "")),
        ("https://gw/team/v1/messages/", Target(True, "gw", 443, "/team")),
        ("http://gpu-box:8000/v1/models", Target(False, "gpu-box", 8000, "")),
        ("http://gpu-box:8000/v1/completions", Target(False, "gpu-box", 8000, "")),
        ("https://gw/v1/responses", Target(True, "gw", 443, "")),
        ("http://gpu-box:8000//v1", Target(False, "gpu-box", 8000, "")),
        ("http://gpu-box/myv1", Target(False, "gpu-box", 80, "/myv1")),
        ("http://[::1]:8000/v1", Target(False, "::1", 8000, "")),
        ("http://[2001:db8::7]", Target(False, "2001:db8::7", 80, "")),
        ("HTTP://GPU-Box:8000", Target(False, "gpu-box", 8000, "")),
        ("  http://gpu-box:8000\n", Target(False, "gpu-box", 8000, "")),
        ("http://gpu-box/models/größe", Target(False, "gpu-box", 80, "/models/gr%C3%B6%C3%9Fe")),
        ("http://gpu-box/a%20b", Target(False, "gpu-box", 80, "/a%20b")),
        ("http://gpu-box/@me", Target(False, "gpu-box", 80, "/@me")),
    ],
)
def test_parses_a_base_url(url: str, expected: Target) -> None:
    assert parse_target(url) == expected


@pytest.mark.parametrize(
    ("url", "authority", "shown", "path"),
    [
        ("http://h:8000/p/v1", "h:8000", "http://h:8000/p", "/p/v1/models"),
        ("http://h:80", "h", "http://h", "/v1/models"),
        ("https://h:443", "h", "https://h", "/v1/models"),
        ("https://h:80", "h:80", "https://h:80", "/v1/models"),
        ("http://[::1]:9", "[::1]:9", "http://[::1]:9", "/v1/models"),
    ],
)
def test_authority_url_and_path(url: str, authority: str, shown: str, path: str) -> None:
    target = parse_target(url)
    assert (target.authority, target.url, target.path("/v1/models")) == (authority, shown, path)
    assert parse_target(target.url) == target


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "has no host name"),
        ("   ", "has no host name"),
        ("http://", "has no host name"),
        ("http:///v1", "has no host name"),
        ("http://:8000", "has no host name"),
        ("ftp://gpu-box", "scheme must be http or https"),
        ("unix:///run/llm.sock", "scheme must be http or https"),
        ("http://gpu-box:0", "port must not be 0"),
        ("http://gpu-box:70000", "[Pp]ort"),
        ("http://gpu-box:http", "[Pp]ort"),
        ("http://gpu-box:-1", "[Pp]ort"),
        ("http://gpu-box:８０", "[Pp]ort|NFKC"),
        ("http://[::1", "IPv6"),
        ("http://[nonsense]:80", "IPv6|IPv4|address"),
        ("http://gpu-box/?model=x", "query or fragment"),
        ("http://gpu-box/#top", "query or fragment"),
        ("http://gpu box", "spaces"),
        ("http://gpu\nbox", "spaces"),
        ("http://gpu\u202ebox", "control"),
    ],
)
def test_rejects_invalid_urls_with_option_and_reason(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_target(url)
    assert str(caught.value).startswith("--host")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://ann:hunter2@gpu-box",
        "ann:hunter2@gpu-box",
        "http://hunter2@gpu-box",
        "http://:hunter2@gpu-box",
        "ftp://ann:hunter2@gpu-box",
        "http://ann:hunter2@gpu-box:port",
        "http://ann:hunter2@[::1",
        "http://ann:hunter2@",
    ],
)
def test_rejects_credentials_without_repeating_them(url: str) -> None:
    with pytest.raises(ValueError, match="user name or password") as caught:
        parse_target(url)
    assert "hunter2" not in str(caught.value)


@given(st.text(alphabet="http:/[]@?#%.:0189 abv\\\t\u00e9\x00", max_size=24) | st.text(max_size=24))
def test_any_text_is_parsed_or_rejected_in_one_line(text: str) -> None:
    message = None
    try:
        target = parse_target(text)
    except ValueError as error:
        message = str(error)
    if message is not None:
        assert message.startswith("--host")
    else:
        assert target.host
        assert 0 < target.port < 65536
        assert target.prefix == "" or (target.prefix.startswith("/") and not target.prefix.endswith("/"))
        assert target.path("/v1/models").isascii()


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://gw/api/chat/completions", "https://gw/api"),
        ("http://gpu-box:8000/v2/chat/completions", "http://gpu-box:8000/v2"),
        ("https://gw/completions", "https://gw"),
    ],
)
def test_an_endpoint_elsewhere_is_refused_with_its_base(url: str, base: str) -> None:
    with pytest.raises(ValueError, match="is an endpoint; give the base URL") as refused:
        parse_target(url)
    assert f"--host {base}?" in str(refused.value)
