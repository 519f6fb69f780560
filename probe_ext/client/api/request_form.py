"""Request bodies for the four APIs, and which optional fields they have.

Servers and gateways refuse fields that others want. A RequestForm says what is sent; `poorer_form` reads a refusal and
returns the form to try next.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from probe_ext.client.api.openai_api import COMPLETION_PATH, MESSAGES_PATH, RESPONSES_PATH

Prompt = str | Sequence[Mapping[str, Any]]
"""a text, or the messages of a chat"""

ANTHROPIC_VERSION = "2023-06-01"
_MESSAGES_DEFAULT_MAX_TOKENS = 1024
"""the Messages API requires a limit"""
_NEGOTIABLE_STATUSES = frozenset({200, 400, 403, 405, 406, 409, 412, 415, 417, 422, 500, 501, 502})
_LENGTH_FIELDS = ("max_tokens", "max_completion_tokens")
_USAGE_FIELDS = ("continuous_usage_stats", "include_usage", "stream_options")
_OPTIONAL_FIELDS = ("ignore_eos", "min_tokens", "top_k", "top_p", "temperature", "seed")
_SWITCHES = frozenset({"ignore_eos", *_USAGE_FIELDS})
"""fields that are on or absent"""
_ABOUT_THE_BODY = frozenset({400, 422})
_REFUSAL = re.compile(
    r"un-?supported|(?:not|n't) (?:be )?(?:currently )?(?:support|permit|allow|accept|recogni|implement|compatib|valid"
    r"|whitelist|authori[sz]ed)"
    r"|unknown|unrecogni[sz]ed|unexpected|forbidden|extra (?:inputs?|fields?|keys?)|extra_forbidden|disallowed"
    r"|invalid (?:param|argument|field|key|propert|input|request)|no such|cannot (?:both )?be|cannot find|deprecated"
    r"|additional propert|only the default|incompatible|mutually exclusive|instead|required|missing|removed|rejected"
    r"|must not|should not|not an? (?:valid|known|supported|accepted|allowed)|has no |no (?:field|attribute|parameter)"
    r"|not (?:expected|defined|available|enabled|applicable)|illegal|prohibited|disabled|extraneous"
    r"|does(?:n't| not) exist|cannot unmarshal|replaced by|rather than|may only|only 1\b"
    r"|(?:must|should) be (?:1|unset|omitted|null|none)\b|不支持|不允许|未知|无效|非法",
)
_LIMIT = re.compile(
    r"context (?:length|window|size)|too (?:large|long|big|high|many|small)|at (?:most|least)|exceed|greater than"
    r"|less than|(?:must|should) be (?:between|positive|in|an? |smaller|larger|[<>≤≥]|up to)|out of range"
    r"|between [0-9]|maximum (?:is|of|value|allow)"
)
_LIST_OF_VALID_NAMES = re.compile(
    r"expected (?:one of|`|'|\")|must be one of|(?:allowed|supported|valid|permitted|known) (?:fields|params|parameters"
    r"|keys|names|properties|arguments|openai)\b"
)
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class RequestForm:
    """Which optional fields a request has."""

    usage: str = "continuous"
    """token usage with every event (`continuous`), at the end (`final`) or `none`"""
    length_field: str = "max_tokens"
    """name of the length limit, of chat requests only"""
    left_out: frozenset[str] = frozenset()
    """fields that are never sent"""
    refused_length_fields: frozenset[str] = frozenset()

    def as_dict(self) -> dict[str, Any]:
        """Return plain types, to be sent to workers or written to a file."""
        refused, left_out = sorted(self.refused_length_fields), sorted(self.left_out)
        return {
            "usage": self.usage,
            "length_field": self.length_field,
            "left_out": left_out,
            "refused_length_fields": refused,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RequestForm":
        """Return the form that `as_dict` described."""
        left_out, refused = values.get("left_out", ()), values.get("refused_length_fields", ())
        return cls(
            values.get("usage", "continuous"),
            values.get("length_field", "max_tokens"),
            frozenset(left_out),
            frozenset(refused),
        )

    def losses(self, asked: "RequestForm") -> list[str]:
        """Say what this form loses against the one that was asked for, one sentence per field."""
        sentences = []
        if self.usage != asked.usage and self.usage == "final":
            sentences.append(
                "The server refuses `stream_options.continuous_usage_stats`: it counts tokens only at the end of each "
                "reply, so the number of tokens in a single event is not known."
            )
        elif self.usage != asked.usage:
            sentences.append(
                "The server refuses `stream_options.include_usage`: stream events are counted instead of tokens, so "
                "typing speed is not judged where an event may hold several, and prompt and cached tokens are not "
                "known."
            )
        if self.length_field != asked.length_field:
            sentences.append(f"The server refuses `{asked.length_field}`: `{self.length_field}` is sent instead.")
        sentences += [_LOSSES.get(name, _LOSS) % name for name in sorted(self.left_out - asked.left_out)]
        return sentences


_LOSS = "The server refuses `%s`: it is not sent, and the server's default applies."
_LOSSES = {"ignore_eos": "The server refuses `%s`: it is not sent, so replies may be shorter than --max-tokens."}


def request_body(
    path: str,
    prompt: Prompt,
    model: str,
    *,
    stream: bool,
    form: RequestForm,
    extra: Mapping[str, Any],
    own: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the JSON of a request to an API's path.

    `extra` (max_tokens, temperature, …, by the names of the chat API) is added without its None values and without what
    the form leaves out. `own` are fields that a user wrote: they override `extra`, and are never left out.
    """
    content: dict[str, Any] = {"model": model, "stream": stream, **_prompt_fields(path, prompt)}
    if stream and form.usage != "none" and path not in (RESPONSES_PATH, MESSAGES_PATH):
        content["stream_options"] = {"include_usage": True}
        if form.usage == "continuous":
            content["stream_options"]["continuous_usage_stats"] = True
    if path == MESSAGES_PATH:
        content["max_tokens"] = _MESSAGES_DEFAULT_MAX_TOKENS
    own = own or {}
    lengths_are_own = any(name in own for name in _LENGTH_FIELDS)
    for name, value in extra.items():
        if value is not None and name not in form.left_out and not (lengths_are_own and name in _LENGTH_FIELDS):
            content[_field_name(path, name, form)] = value
    for name, value in own.items():
        if value is not None:
            content[_field_name(path, name, form)] = value
        else:
            content.pop(_field_name(path, name, form), None)
    return orjson.dumps(content)


def auth_headers(path: str, key: str | None) -> list[str]:
    """Return the header lines that carry the API key.

    vLLM expects a bearer token under every path, Anthropic and most gateways `x-api-key` for Messages: both are sent.
    """
    lines = [f"anthropic-version: {ANTHROPIC_VERSION}"] if path == MESSAGES_PATH else []
    if key:
        lines += [f"Authorization: Bearer {key}"] + ([f"x-api-key: {key}"] if path == MESSAGES_PATH else [])
    return lines


def _prompt_fields(path: str, prompt: Prompt) -> dict[str, Any]:
    if path == COMPLETION_PATH:
        return {"prompt": prompt}
    if path == RESPONSES_PATH:
        return {"input": prompt}
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    if path != MESSAGES_PATH:
        return {"messages": messages}
    system = "\n\n".join(_plain_text(message) for message in messages if message.get("role") == "system")
    others = [message for message in messages if message.get("role") != "system"]
    return {"messages": others, **({"system": system} if system else {})}


def _plain_text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    parts = [{"text": content}] if isinstance(content, str) else content
    return "\n".join(str(part.get("text", "")) for part in parts)


def _field_name(path: str, name: str, form: RequestForm) -> str:
    if name not in _LENGTH_FIELDS:
        return name
    if path == RESPONSES_PATH:
        return "max_output_tokens"
    if path in (MESSAGES_PATH, COMPLETION_PATH):
        return "max_tokens"
    return form.length_field if name == "max_tokens" else name


def poorer_form(form: RequestForm, status: int | None, error_text: str) -> RequestForm | None:
    """Return the form to try after a refusal, which gives up one field; None if the refusal names none that is sent.

    `status`: HTTP status, 200 for an error inside a stream.
    """
    if status is None or status not in _NEGOTIABLE_STATUSES:
        return None
    text = _CAMEL_CASE.sub("_", error_text).lower()
    named_list = _LIST_OF_VALID_NAMES.search(text)
    if named_list:
        text = text[: named_list.start()]
    name = _refused_field(text, form, status)
    if name in _USAGE_FIELDS:
        return _with_less_usage(form, text)
    if name is None or _LIMIT.search(text):
        return None  # the value is refused, not the field
    if name in _LENGTH_FIELDS:
        return _with_other_length_field(form)
    return replace(form, left_out=form.left_out | {name})


def _refused_field(text: str, form: RequestForm, status: int) -> str | None:
    """Return the field of this form that is named next to a word of refusal.

    A switch cannot have a wrong value: where only one is named, in whatever words, it is refused.
    """
    refusals = [match.span() for match in _REFUSAL.finditer(text)]
    fields = [name for name in _OPTIONAL_FIELDS if name not in form.left_out] + list(_LENGTH_FIELDS)
    if form.usage != "none":
        fields += _USAGE_FIELDS
    named = [(order, name, match) for order, name in enumerate(fields) for match in _mentions(name, text)]
    found = [
        (min(max(start - match.end(), match.start() - end, 0) for start, end in refusals), order, name)
        for order, name, match in named
        if refusals
    ]
    if found:
        return min(found)[2]
    others = [name for _, name, _ in named if name not in _SWITCHES]
    switches = [name for _, name, _ in named if name in _SWITCHES]
    return switches[0] if switches and not others and status in _ABOUT_THE_BODY else None


def _mentions(name: str, text: str) -> Iterator[re.Match[str]]:
    """Yield where a text names a field, also in other spellings."""
    return re.finditer(rf"(?<![a-z_]){name.replace('_', '[_ ]?')}(?![a-z_])", text)


def _with_less_usage(form: RequestForm, text: str) -> RequestForm:
    only_final_named = "include_usage" in text and "continuous_usage_stats" not in text
    final = form.usage == "continuous" and not only_final_named
    return replace(form, usage="final" if final else "none")


def _with_other_length_field(form: RequestForm) -> RequestForm | None:
    refused = form.refused_length_fields | {form.length_field}
    other = next((name for name in _LENGTH_FIELDS if name not in refused), None)
    return None if other is None else replace(form, length_field=other, refused_length_fields=refused)
