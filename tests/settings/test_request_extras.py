"""Headers and body fields for gateways: what is accepted, and that no secret is."""

import json
from pathlib import Path

import pytest

from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import read_options
from probe_ext.settings.secrets import secret_headers


def test_headers_are_read_from_lines_and_lists() -> None:
    expected = ("X-Tenant: blue", "Host: llama.example")
    assert read_options({"header": "X-Tenant:blue\nHost: llama.example"}).header == expected
    assert read_options({"header": json.dumps(["X-Tenant: blue", "Host:llama.example"])}).header == expected
    assert read_options({"header": ""}).header == ()


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abc",
        "authorization:x",
        "Proxy-Authorization: x",
        "api-key: s3cr3t",
        "X-API-Key: s3cr3t",
        "x-goog-api-key:s3cr3t",
        "Ocp-Apim-Subscription-Key: s3cr3t",
        "X-Functions-Key: s3cr3t",
        "Cookie: a=s3cr3t",
        "X-Amz-Security-Token: s3cr3t",
        "CF-Access-Client-Secret: s3cr3t",
        "X-Auth: s3cr3t",
        "X-Session-Id: s3cr3t",
        "X-Password: s3cr3t",
        "X-Tenant: Bearer s3cr3t",
        "X-Tenant: sk-s3cr3tabcdef",
    ],
)
def test_headers_with_secrets_point_to_the_environment(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_options({"header": text})
    name = text.partition(":")[0]
    assert f"--header-env {name}=VARIABLE" in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["Content-Length: 3", "transfer-encoding: chunked", "Connection: close", "no colon", ": x", "a b: c", "A: é"],
)
def test_other_headers_are_refused_without_their_value(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--header "):
        read_options({"header": text})


def test_a_header_is_given_once() -> None:
    with pytest.raises(SettingsError, match="twice"):
        read_options({"header": "A: 1\na: 2"})
    with pytest.raises(SettingsError, match="also given with --header-env"):
        read_options({"header": "X-A: 1", "header_env": "x-a=V"})


@pytest.mark.parametrize("text", ["X-Key", "X-Key=", "X-Key=my secret", "X-Key=sk-s3cr3t", "=V", "Content-Length=V"])
def test_invalid_header_variables_are_not_repeated(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--header-env ") as refused:
        read_options({"header_env": text})
    assert "s3cr3t" not in str(refused.value)


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    options = read_options({"header_env": "X-Key=GATEWAY_KEY"})
    with pytest.raises(ValueError, match="--header-env X-Key=GATEWAY_KEY: GATEWAY_KEY is not set"):
        secret_headers(options.header_env)
    monkeypatch.setenv("GATEWAY_KEY", "s3cr3t")
    assert secret_headers(options.header_env) == {"X-Key": "s3cr3t"}
    assert "s3cr3t" not in json.dumps(options.as_json())
    monkeypatch.setenv("GATEWAY_KEY", "s3\ncr3t: é")
    with pytest.raises(ValueError, match="GATEWAY_KEY: contains characters"):
        secret_headers(options.header_env)


def test_a_body_is_an_object_or_a_file_with_one(tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    file.write_text('{"top_k": 3, "chat_template_kwargs": {"enable_thinking": false}}')
    for text in (str(file), file.read_text()):
        read = read_options({"body": text})
        assert read.body_extras == {"top_k": 3, "chat_template_kwargs": {"enable_thinking": False}}
        assert read.body is not None
        assert read_options({"body": read.body}) == read, "workers read it again"
    assert read_options({"body": ""}).body_extras == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1]", "must be a JSON object"),
        ('"x"', "must be a JSON object"),
        ('{"a": NaN}', "not valid JSON"),
        ('{"a": ', "not valid JSON: Expecting value at character 6"),
        ("no-such-file.json", "neither a JSON object nor a file"),
        ('{"stream": false}', "`stream`: is set by --no-stream"),
        ('{"model": "m"}', "`model`: is set by --model"),
        ('{"max_completion_tokens": 3}', "set by --max-tokens"),
        ('{"stream_options": {}}', "set by --usage"),
        ('{"messages": []}', "set by a locustfile"),
        ('{"api_key": "s3cr3t"}', "`api_key`: carries a secret"),
        ('{"metadata": {"Password": "s3cr3t"}}', "`Password`: carries a secret"),
        ('{"x": {"y": "Bearer s3cr3t"}}', "`y`: carries a secret"),
        ('{"a": "' + "x" * 1024 * 1024 + '"}', "larger than"),
    ],
)
def test_invalid_bodies_are_named_without_their_content(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=r"^--body ") as refused:
        read_options({"body": text})
    assert why in str(refused.value)
    assert "s3cr3t" not in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("name", ["skip_special_tokens", "stop_token_ids", "truncate_prompt_tokens", "logit_bias"])
def test_fields_that_only_sound_secret_are_accepted(name: str) -> None:
    assert name in read_options({"body": json.dumps({name: 1})}).body_extras


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"body\.json: is not UTF-8"):
        read_options({"body": str(file)})
