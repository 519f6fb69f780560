"""What the tap learns of prompts: the same of every API, sessions by their history, text that came before."""

from typing import Any

import orjson
import pytest

from probe_ext.tap.traffic.keyed_hash import KeyedHash
from probe_ext.tap.traffic.prefix_memory import PrefixMemory, Seen
from probe_ext.tap.traffic.prompt_messages import Message, Prompt, prompt_of
from probe_ext.tap.traffic.request_facts import RequestFacts, endpoint_of, parse_body, request_facts
from probe_ext.tap.traffic.session_table import Place, SessionTable

CALL = {"name": "look", "arguments": '{"at": 1}'}
SAME = [Message("system", "S"), Message("user", "Q"), Message("assistant", 'A look{"at": 1}'), Message("tool", "T")]


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (
            "chat",
            {
                "messages": [
                    {"role": "system", "content": "S"},
                    {"role": "user", "content": [{"type": "text", "text": "Q"}]},
                    {"role": "assistant", "content": "A ", "tool_calls": [{"id": "1", "function": CALL}]},
                    {"role": "tool", "tool_call_id": "1", "content": "T"},
                ]
            },
        ),
        (
            "responses",
            {
                "instructions": "S",
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": "Q"}]},
                    {"type": "reasoning", "summary": []},
                    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A "}]},
                    {"type": "function_call", **CALL},
                    {"type": "function_call_output", "output": "T"},
                ],
            },
        ),
        (
            "messages",
            {
                "system": [{"type": "text", "text": "S"}],
                "messages": [
                    {"role": "user", "content": "Q"},
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "hm"},
                            {"type": "text", "text": "A "},
                            {"type": "tool_use", "name": "look", "input": {"at": 1}},
                        ],
                    },
                    {"role": "user", "content": [{"type": "tool_result", "content": "T"}]},
                ],
            },
        ),
    ],
)
def test_the_same_conversation_is_the_same_in_every_api(endpoint: str, body: dict[str, Any]) -> None:
    prompt = prompt_of(endpoint, body)
    blank_free = [Message(each.role, each.text.replace(" ", "")) for each in prompt.messages]
    assert blank_free == [Message(each.role, each.text.replace(" ", "")) for each in SAME]
    assert prompt.calls_tools
    assert prompt.tool_results == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": None},
        {"messages": [None, 1, "x", {"role": 3, "content": {"a": [1]}}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": 1}, 2]}]},
        {"input": {"a": 1}, "prompt": {"a": 1}},
        {"prompt": [[1, 2], None, "x"]},
    ],
)
@pytest.mark.parametrize("endpoint", ["chat", "completion", "responses", "messages"])
def test_malformed_prompts_are_taken_as_they_are(endpoint: str, body: dict[str, Any]) -> None:
    facts = request_facts(endpoint, body, "", KeyedHash())
    assert facts.prompt is not None


def test_images_are_noticed_and_not_read() -> None:
    parts = [{"type": "text", "text": "Q"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,xx"}}]
    prompt = prompt_of("chat", {"messages": [{"role": "user", "content": parts}]})
    assert prompt.media
    assert "base64" not in "".join(prompt.parts)


@pytest.mark.parametrize(
    ("method", "path", "endpoint"),
    [
        ("POST", "/v1/chat/completions", "chat"),
        ("POST", "/gateway/v1/completions/", "completion"),
        ("POST", "/v1/responses", "responses"),
        ("POST", "/v1/messages", "messages"),
        ("GET", "/v1/responses", "other"),
        ("POST", "/v1/embeddings", "other"),
        ("POST", "/tokenize", "other"),
    ],
)
def test_endpoints_by_path(method: str, path: str, endpoint: str) -> None:
    assert endpoint_of(method, path) == endpoint


def test_only_plain_sampling_parameters_are_kept() -> None:
    body = {"max_tokens": 5, "temperature": 0.5, "seed": 1, "stop": "secret", "user": "name", "top_p": "x", "n": None}
    facts = request_facts("chat", body, "", KeyedHash())
    assert facts.parameters == {"max_tokens": 5, "temperature": 0.5, "seed": 1}


def test_deep_nesting_costs_its_own_hash_only() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    body = parse_body(orjson.dumps({"model": "m"})[:-1] + b',"x":' + b"[" * 900 + b"]" * 900 + b"}")
    facts = request_facts("chat", body, "", KeyedHash())
    assert (facts.model, facts.identical) == ("m", None)
    assert prompt_of("chat", {"tools": deep, "messages": []}).tools == ""


def test_equal_requests_have_equal_hashes_in_one_recording_only() -> None:
    hashes = KeyedHash()

    def facts(hashes: KeyedHash, owner: str = "", **body: Any) -> RequestFacts:
        return request_facts("chat", {"messages": [{"role": "user", "content": "Q" * 600}], **body}, owner, hashes)

    assert facts(hashes) == facts(hashes)
    assert facts(hashes).identical != facts(hashes, stream=True).identical
    assert facts(hashes).identical != facts(hashes, owner="other key").identical
    assert facts(hashes, temperature=1).prompt_name == facts(hashes).prompt_name
    assert facts(hashes).blocks != facts(KeyedHash()).blocks


def test_prompts_share_as_many_block_hashes_as_they_share_whole_blocks() -> None:
    hashes = KeyedHash()
    one, two = hashes.blocks("a" * 512 + "b" * 256), hashes.blocks("a" * 512 + "c" * 300)
    assert [x == y for x, y in zip(one, two, strict=True)] == [True, True, False]
    assert hashes.blocks("x" * 256 + "a" * 512)[1:] != one[:2]  # equal text elsewhere is another prefix


def chat(*texts: str) -> Prompt:
    """A conversation of user and assistant in turns."""
    return Prompt(tuple(Message("assistant" if n % 2 else "user", text) for n, text in enumerate(texts)))


class Sessions:
    """A table with requests that are answered at once."""

    def __init__(self) -> None:
        self.table = SessionTable(KeyedHash())

    def ask(self, *texts: str, answer: str = "A", owner: str = "") -> Place:
        prompt = chat(*texts)
        place = self.table.place(prompt, owner)
        self.table.answered(prompt, owner, place, [answer], None)
        return place


def test_a_request_with_the_history_of_an_earlier_one_continues_its_session() -> None:
    sessions = Sessions()
    first = sessions.ask("Q1", answer="A1")
    second = sessions.ask("Q1", "A1", "Q2", answer="A2")
    third = sessions.ask("Q1", "A1", "Q2", "A2", "Q3")
    assert [first.turn, second.turn, third.turn] == [0, 1, 2]
    assert first.session == second.session == third.session


def test_two_users_with_the_same_history_have_a_session_each() -> None:
    sessions = Sessions()
    one, two = sessions.ask("Q"), sessions.ask("Q")
    later = [sessions.ask("Q", "A", "Q2", answer=answer) for answer in ("B1", "B2")]
    assert [each.session for each in later] == [one.session, two.session]
    assert sessions.ask("Q", "A", "Q2", "B2", "Q3").session == two.session


def test_an_answer_that_the_client_changed_still_continues_the_session() -> None:
    sessions = Sessions()
    first = sessions.ask("Q", answer="<think>long</think> An answer")
    assert sessions.ask("Q", "An answer.", "Q2") == Place(first.session, 1)


def test_blanks_do_not_matter() -> None:
    sessions = Sessions()
    other, first = sessions.ask("Q", answer="B"), sessions.ask("Q", answer=' A {"x": 1}\n')
    assert sessions.ask("Q", 'A {"x":1}', "Q2").session == first.session != other.session


def test_histories_of_different_keys_and_new_conversations_are_apart() -> None:
    sessions = Sessions()
    first = sessions.ask("Q", owner="key 1")
    assert sessions.ask("Q", "A", "Q2", owner="key 2").session != first.session
    assert sessions.ask("Q", owner="key 1").session != first.session


def test_a_response_is_continued_by_its_id() -> None:
    table = SessionTable(KeyedHash())
    prompt = chat("Q")
    first = table.place(prompt, "")
    table.answered(prompt, "", first, ["A"], "resp_1")
    assert table.place(Prompt((Message("user", "Q2"),), previous="resp_1"), "") == Place(first.session, 1)


def seen(memory: PrefixMemory, hashes: KeyedHash, text: str, session: str) -> Seen:
    return memory.add(hashes.blocks(text), [(len(text), hashes.digest(text))], text, session)


STATIC = " ".join(f"rule {n} of the house must be kept by everybody" for n in range(100))


def test_text_at_the_start_and_behind_a_difference_are_told_apart() -> None:
    memory, hashes = PrefixMemory(), KeyedHash()
    assert seen(memory, hashes, STATIC + " question one", "a") == (0, 0)
    same_start = seen(memory, hashes, STATIC + " question two", "b")
    assert same_start.prefix == len(STATIC) // 256 * 256
    assert same_start.later == 0
    behind = seen(memory, hashes, "I am Bob, born on a sunny day in a small town by the sea. " + STATIC, "c")
    assert behind.prefix == 0
    assert behind.later > 0.8 * len(STATIC)


def test_a_prompt_that_came_before_is_seen_whole_however_short() -> None:
    memory, hashes = PrefixMemory(), KeyedHash()
    assert seen(memory, hashes, "What is the capital?", "a").prefix == 0
    assert seen(memory, hashes, "What is the capital?", "b").prefix == len("What is the capital?")


def test_what_only_the_same_session_sent_is_not_of_others() -> None:
    memory, hashes = PrefixMemory(), KeyedHash()
    seen(memory, hashes, STATIC, "a")
    assert seen(memory, hashes, "a summary of what was before, quite short but new. " + STATIC, "a").later == 0
