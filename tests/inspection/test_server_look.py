"""Engine, model, context, metrics, hanging up and the prefix cache, as a doctor sees them."""

from dataclasses import replace

import gevent
import pytest
from look_helpers import subject_on

from probe_ext.access import local_servers
from probe_ext.access.known_server import KnownServer
from probe_ext.access.local_servers import LocalLook, LocalServer
from probe_ext.access.sender import Answered, Question
from probe_ext.access.start_problem import start_problem
from probe_ext.client.wire.address import parse_target
from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.inspection.connection.replicas import replicas
from probe_ext.inspection.quick_checks import lines_to_print, one_line
from probe_ext.inspection.server import cancel as cancelling
from probe_ext.inspection.server import prefix_cache as prefixes
from probe_ext.inspection.server.cancel import Watched, cancel
from probe_ext.inspection.server.engine_and_model import context, engine, models
from probe_ext.inspection.server.metrics_page import metrics
from probe_ext.inspection.server.prefix_cache import Counted, Pair, prefix_cache
from probe_ext.settings.options import read_options
from tests.in_process_sim import running_sim


def known(model: str | None = None, **entry: object) -> KnownServer:
    """A server that says this of itself."""
    listed = entry.get("models", ["first", "second"])
    values = {"kind": "vllm", "version": "0.32.0", "models_error": None, "max_model_len": 4096, "cache": None}
    values |= {"metrics": "ok", **entry, "models": listed}
    first = listed[0] if isinstance(listed, list) and listed else None
    return KnownServer(parse_target("http://server:8000"), (values,), model or first, ())


def test_engine() -> None:
    assert engine(known()).evidence == "vllm 0.32.0."
    assert engine(known(version=None)).evidence == "vllm version unknown."
    assert engine(known(kind="unknown")).status is Status.UNKNOWN


def test_which_model_would_answer() -> None:
    options = read_options({})
    assert models(known(), options).evidence == "first would be used, the first chat model listed, and 1 other: second."
    assert models(known(models=["only"]), options).advice is None
    given = read_options({"model": "second"})
    assert models(known("second"), given).evidence == "second, as given."
    third = read_options({"model": "third"})
    unlisted = models(known("third", kind="llama.cpp"), third)
    assert (unlisted.status, unlisted.evidence[:30]) == (Status.WARN, "--model third is not listed; t")
    refused = models(known("third"), third)
    assert (refused.status, refused.evidence[:14]) == (Status.PROBLEM, "--model third:")


@pytest.mark.parametrize(
    ("entry", "given", "said"),
    [
        ({"models": None, "models_error": "connection refused"}, {}, "--host http://server:8000: connection refused"),
        ({"models": []}, {}, "--host http://server:8000: lists no models; name one with --model"),
        ({"models": None, "models_error": "404"}, {}, "/v1/models: 404: not an OpenAI-compatible server"),
        ({"models": None, "models_error": "401 requires a key"}, {"model": "m"}, "401 requires a key"),
        (
            {},
            {"model": "secund"},
            "--model secund: http://server:8000 does not serve it (did you mean second?); it lists",
        ),
        ({}, {"model": "nope"}, "--model nope: http://server:8000 does not serve it; it lists first, second"),
        ({"models": list("abcdefg")}, {"model": "nope"}, "it lists a, b, c, d, e and 2 more"),
        ({"max_model_len": 300}, {}, "together more than the 300 tokens of first's context"),
    ],
)
def test_no_run_where_no_reply_can_be_expected(entry: dict[str, object], given: dict[str, str], said: str) -> None:
    why = start_problem(known(given.get("model"), **entry), read_options(given))
    assert why is not None
    assert said in why
    assert "\n" not in why


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            (LocalServer("http://127.0.0.1:8000", "vllm", "0.32.0", "tiny"),),
            "found on this machine: vLLM 0.32.0 at http",
        ),
        ((), "no LLM server was found on this machine's usual ports. Start it, or give"),
    ],
)
def test_a_wrong_port_of_this_machine_is_answered_with_what_runs_here(
    found: tuple[LocalServer, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_servers, "find_local_servers", lambda: LocalLook(found))
    refused = known(models=None, models_error="connection refused")
    here = replace(refused, target=parse_target("http://127.0.0.1:8001"))
    why = start_problem(here, read_options({}))
    assert why is not None
    assert why.startswith(f"--host http://127.0.0.1:8001: connection refused; {said}")
    assert start_problem(refused, read_options({})) == "--host http://server:8000: connection refused", "elsewhere"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("connection refused", "URL http://server:8000: connection refused."),
        ("redirect to https://s", "URL http://server:8000: redirect to https://s; give that address as URL."),
    ],
)
def test_the_server_is_named_as_it_is_given_which_is_no_option(error: str, said: str) -> None:
    assert models(known(models=None, models_error=error), read_options({})).evidence == said


def test_a_run_may_start_where_models_are_not_listed() -> None:
    assert start_problem(known("m", models=None, models_error="404"), read_options({"model": "m"})) is None


def test_context() -> None:
    options = read_options({"input_tokens": "4000"})
    finding = context(known(), options)
    assert (finding.status, finding.figures) == (Status.PROBLEM, {"context_tokens": 4096, "planned_tokens": 4128})
    assert "--max-model-len" in (finding.advice or "")
    assert context(known(max_model_len=None), options).status is Status.UNKNOWN
    assert context(known(), read_options({})).status is Status.OK


def test_lines_before_a_run_are_what_is_to_be_mended() -> None:
    findings = [
        CheckResult("disk", Status.OK, "Enough."),
        CheckResult("disk", Status.WARN, "Little is free.", "Free some."),
    ]
    findings.append(CheckResult("ceiling", Status.UNKNOWN, "Not calibrated.", "Run it."))
    assert lines_to_print(findings) == ["disk space here: Little is free. Free some."]
    assert one_line(findings[0]) == "disk space here: Enough."


def test_metrics_of_simulated_servers() -> None:
    with running_sim(speed=8.0) as sim:
        assert metrics(subject_on(sim.url, max_tokens="12")).evidence.endswith("nothing is missing.")
        assert metrics(subject_on(sim.url, no_metrics="true")).evidence == "Not read (--no-metrics)."
    with running_sim(speed=8.0, metrics="off") as sim:
        finding = metrics(subject_on(sim.url, max_tokens="12"))
    assert (finding.status, finding.evidence[:10]) == (Status.WARN, "None: 404.")
    assert "--metrics-url" in (finding.advice or "")


def test_no_metrics_asks_for_none() -> None:
    with running_sim(speed=8.0) as sim:
        subject = subject_on(sim.url, no_metrics="true", max_tokens="12")
        found = [metrics(subject), replicas(subject), cancel(subject)]
        assert sim.server is not None
        assert sim.server._metrics_reads == 0
    assert not any(finding.advice for finding in found)


@pytest.mark.parametrize(
    ("page", "status", "said"),
    [
        ("frozen", Status.WARN, "grew by 0 tokens while 144 arrived"),
        ("fast", Status.WARN, "contradict the clock"),
        ("impossible", Status.WARN, "impossible values: kv_usage -0.25"),
        ("login", Status.WARN, "a login page (HTML)"),
        ("two-models", Status.OK, "series of other models, too (another)"),
        ("twice", Status.OK, "nothing is missing"),
        ("ray", Status.OK, "nothing is missing"),
        ("bare", Status.OK, "how many requests fit the KV cache"),
    ],
)
def test_what_is_wrong_with_a_metrics_page(page: str, status: Status, said: str) -> None:
    with running_sim(speed=8.0, metrics=page) as sim:
        finding = metrics(subject_on(sim.url))
    assert (finding.status, said in finding.evidence) == (status, True), finding.evidence


def test_others_on_the_server_are_told() -> None:
    with running_sim(speed=1.0) as sim:
        subject = subject_on(sim.url, max_tokens="12")
        long_one = gevent.spawn(subject.sender.ask, subject.question(60, 400), fresh=True)
        gevent.sleep(1.0)
        subject.read_first()
        long_one.kill()
        finding = metrics(subject)
    assert (finding.status, "it had 1 request" in finding.evidence) == (Status.WARN, True)


def test_hanging_up_is_not_judged_by_metrics_that_did_not_show_the_request() -> None:
    with running_sim(speed=8.0, metrics="frozen") as sim:
        finding = cancel(subject_on(sim.url))
    assert (finding.status, "an old copy" in finding.evidence) == (Status.UNKNOWN, True)


def test_a_slow_page_is_given_the_time_it_needs() -> None:
    with running_sim(speed=8.0, metrics="slow") as sim:
        finding = metrics(subject_on(sim.url, max_tokens="12"))
    assert finding.status is Status.WARN
    assert "a run reads the page only about every 6" in finding.evidence
    assert "--metrics-url" in (finding.advice or "")


@pytest.mark.parametrize(
    ("watched", "status"),
    [
        (None, Status.UNKNOWN),
        (Watched(6.0, 0.05, 1.0), Status.OK),
        (Watched(6.0, 2.9, 40.0), Status.OK),
        (Watched(6.0, 4.0, 60.0), Status.UNKNOWN),
        (Watched(6.0, 5.5, 300.0), Status.PROBLEM),
        (Watched(6.0, None, 300.0), Status.PROBLEM),
        (Watched(6.0, None, None), Status.PROBLEM),
        (Watched(6.0, 0.05, 0.0, seen=False), Status.UNKNOWN),
        (Watched(6.0, 3.1, 0.0, read_s=3.0), Status.UNKNOWN),
    ],
)
def test_hanging_up_is_judged_by_when_the_request_was_gone(watched: Watched | None, status: Status) -> None:
    assert cancelling.judged(watched).status is status


@pytest.mark.parametrize(
    ("personality", "options", "status"),
    [
        ("vllm", {}, Status.OK),
        ("no-cancel", {}, Status.PROBLEM),
        ("sequential", {"metrics": "off"}, Status.OK),
        ("sequential,no-cancel", {"metrics": "off"}, Status.PROBLEM),
        ("vllm", {"metrics": "off"}, Status.UNKNOWN),
    ],
)
def test_hanging_up_on_simulated_servers(
    personality: str, options: dict[str, str], status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A reply that goes on must take long enough to tell it from one that ends early, on a busy machine, too.
    monkeypatch.setattr(cancelling, "_TARGET_S", 5.0 if status is Status.PROBLEM else 2.0)
    with running_sim(personality, **options) as sim:
        finding = cancel(subject_on(sim.url, max_tokens="12"))
    assert finding.status is status, finding


def test_hanging_up_is_not_judged_beside_others() -> None:
    with running_sim() as sim:
        subject, other = subject_on(sim.url, max_tokens="12"), subject_on(sim.url, max_tokens="12")
        busy = gevent.spawn(other.sender.ask, other.question(60, 1500))
        gevent.sleep(0.2)
        finding = cancel(subject)
        gevent.kill(busy)
    assert (finding.status, "Others are using" in finding.evidence) == (Status.UNKNOWN, True)


FASTER, SAME = [Pair(0.2, 0.05)] * 6, [Pair(0.2, 0.21)] * 6


@pytest.mark.parametrize(
    ("pairs", "short", "counted", "status", "said"),
    [
        (FASTER, 0.03, None, Status.OK, "On, with 98 % confidence: 6 of 6"),
        (FASTER, None, None, Status.OK, "On, with 98 % confidence"),
        (SAME, 0.03, None, Status.OK, "Off, with 89 % confidence: 0 of 6"),
        (SAME, 0.19, None, Status.UNKNOWN, "the prefill is too short to be seen"),
        (SAME, None, None, Status.UNKNOWN, "Unclear"),
        (SAME, 0.03, Counted(6000, 5800), Status.OK, "On: the server counts 5,800 of 6,000"),
        (SAME, 0.03, Counted(6000, 0), Status.OK, "Off, with"),
        (FASTER[:3] + SAME[:3], 0.03, None, Status.UNKNOWN, "Unclear: 3 of 6"),
        (FASTER[:3], 0.03, None, Status.OK, "On, with 88 % confidence: 3 of 3"),
        (FASTER[:2], 0.03, None, Status.UNKNOWN, "Unclear: 2 of 2"),
        ([], 0.03, None, Status.UNKNOWN, "No time left for a pair"),
    ],
)
def test_prefix_cache_is_told_with_its_confidence(
    pairs: list[Pair], short: float | None, counted: Counted | None, status: Status, said: str
) -> None:
    finding = prefixes.judged(pairs, short, counted)
    assert (finding.status, said in finding.evidence) == (status, True), finding


@pytest.mark.parametrize(
    ("personality", "starts"),
    [
        ("vllm", ("On: the server counts",)),
        ("no-details", ("On, with", "Unclear: 5 of 6")),
        ("no-prefix-cache,no-details", ("Off, with", "Unclear: 1 of 6")),
    ],
)
def test_prefix_cache_of_simulated_servers(personality: str, starts: tuple[str, ...]) -> None:
    """On a busy machine one of six pairs may have been held up, and nothing is said then."""
    with running_sim(personality) as sim:
        finding = prefix_cache(subject_on(sim.url, max_tokens="12"))
    assert finding.evidence.startswith(starts), finding


def test_a_long_prompt_that_does_not_fit_is_made_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_sim(speed=8.0) as sim:
        subject = subject_on(sim.url)
        monkeypatch.setattr(prefixes, "_PROMPT_TOKENS", 3000)  # the context has 2,048
        subject.longest_prompt = None
        assert prefix_cache(subject).status is Status.OK


def test_a_first_token_that_shows_nothing_is_asked_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reasoning parser takes the opening tag out of the stream."""
    with running_sim(speed=8.0) as sim:
        subject = subject_on(sim.url)
        ask = subject.sender.ask

        def silent(question: Question, *, fresh: bool = False) -> Answered:
            reply = ask(question, fresh=fresh)
            return replace(reply, at=()) if question.max_tokens == 1 else reply

        monkeypatch.setattr(subject.sender, "ask", silent)
        assert prefix_cache(subject).status is Status.OK


def test_a_cache_of_responses_is_no_prefix_cache() -> None:
    with running_sim("response-cache,no-prefix-cache,no-details") as sim:
        assert prefix_cache(subject_on(sim.url, max_tokens="12")).evidence.startswith("Off")
