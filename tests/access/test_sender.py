"""Requests without Locust: how many at once, on which connections, cut short, with which times."""

from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from probe_ext.access.endpoint import Endpoint
from probe_ext.access.known_server import fetcher_for, know_server, target_and_key
from probe_ext.access.sender import Question, Sender
from probe_ext.client.api.request_form import RequestForm
from probe_ext.measure.outcome import Outcome
from probe_ext.settings.options import read_options
from probe_ext.sim.profile import load_profile
from tests.in_process_sim import RunningSim, running_sim


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSim]:
    with running_sim(speed=4.0) as server:
        yield server


def sender(url: str, form: RequestForm | None = None, **options: str) -> Sender:
    given = read_options(options)
    return Sender(Endpoint(url, given, load_profile("demo").model, form), given.api)


def questions(count: int, tokens: int = 4, **more: Any) -> list[Question]:
    return [Question(f"question {number}", tokens, parameters={"ignore_eos": True}, **more) for number in range(count)]


def test_all_are_answered_in_order_with_times_and_tokens(sim: RunningSim) -> None:
    with_tokens = [Question("same", tokens, parameters={"ignore_eos": True}) for tokens in (1, 2, 3, 4, 5)]
    replies = sender(sim.url).send(with_tokens, 3)
    assert [reply.tokens_out for reply in replies] == [1, 2, 3, 4, 5]
    assert all(reply.ok and reply.tokens_from == "usage" and reply.finish_reason == "length" for reply in replies)
    assert all(len(reply.at) == reply.tokens_out and reply.text for reply in replies)
    assert all(0 < (reply.ttft or 0) <= (reply.seconds or 0) for reply in replies)


def test_at_most_so_many_are_under_way(sim: RunningSim) -> None:
    replies = sender(sim.url).send(questions(6), 2)
    spans = [(reply.sent or 0.0, reply.end) for reply in replies]
    assert max(sum(start <= sent < end for start, end in spans) for sent, _ in spans) == 2


def test_connections_are_kept_unless_fresh_ones_are_wanted(sim: RunningSim) -> None:
    kept = sender(sim.url)
    first, second = kept.ask(questions(1)[0]), kept.ask(questions(1)[0])
    assert (first.reused, second.reused) == (False, True)
    assert first.kept
    assert (first.connect is not None, second.connect) == (True, None)
    assert not any(reply.reused for reply in kept.send(questions(3), 1, fresh=True))
    kept.close()
    assert kept.take_idle() == ()


def test_hangs_up_after_the_first_token(sim: RunningSim) -> None:
    reply = sender(sim.url).ask(questions(1, 400, hang_up_after=1)[0])
    assert reply.outcome is Outcome.HUNG_UP
    assert 1 <= len(reply.at) < 400
    assert not reply.kept


def test_whole_replies_have_no_token_times(sim: RunningSim) -> None:
    reply = sender(sim.url).ask(questions(1, streamed=False)[0])
    assert (reply.ok, reply.at, reply.ttft, reply.tokens_out) == (True, (), None, 4)


def test_time_limit_ends_what_is_under_way(sim: RunningSim) -> None:
    client = sender(sim.url)
    with gevent.Timeout(60):
        replies = client.send(questions(3, 1500), 2, seconds=0.3)
    assert [reply.outcome for reply in replies] == [Outcome.ENDED_BY_US] * 2


def test_a_request_form_replaces_the_options(sim: RunningSim) -> None:
    reply = sender(sim.url, RequestForm(usage="none")).ask(questions(1)[0])
    assert (reply.tokens_from, reply.tokens_out, reply.tokens_in) == ("events", 4, None)


def test_a_dead_port_is_an_outcome() -> None:
    reply = sender("http://127.0.0.1:1").ask(questions(1)[0])
    assert (reply.outcome, reply.sent, reply.seconds) == (Outcome.CONNECT_FAILED, None, None)
    assert reply.message == "Connection refused"


def test_the_servers_words_and_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_sim(api_key="the-right-key") as locked:
        assert sender(locked.url).ask(questions(1)[0]).status == 401
        monkeypatch.setenv("PROBE_API_KEY", "the-right-key")
        assert sender(locked.url).ask(questions(1)[0]).ok


def test_identifies_the_server(sim: RunningSim) -> None:
    options = read_options({})
    target, key = target_and_key(sim.url)
    server = know_server(target, fetcher_for(target, key, options), options)
    assert (server.kind, server.models, server.model) == ("vllm", (load_profile("demo").model,), server.model)
    assert (server.models_error, server.metrics_error) == (None, None)
    assert server.max_model_len == load_profile("demo").max_model_len
    assert server.metrics_urls == (f"{sim.url}/metrics",)
    assert server.cache["enable_prefix_caching"] is True


def test_a_server_that_does_not_answer_is_a_value() -> None:
    options = read_options({})
    target, key = target_and_key("http://127.0.0.1:1")
    server = know_server(target, fetcher_for(target, key, options), options)
    assert (server.kind, server.models, server.model) == ("unknown", None, None)
    assert (server.models_error, server.metrics_error) == ("connection refused", "connection refused")
