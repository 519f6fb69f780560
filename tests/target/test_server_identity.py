"""Identification of servers, from recorded and generated pages."""

import json

import pytest
import recordings
from loopback import Loopback, send

from probe_ext.target import server_identity, token_count
from probe_ext.target.control import urls
from probe_ext.target.control.call_result import Failed
from probe_ext.target.control.fetch import Fetcher
from probe_ext.target.metrics.cache_config import CONFIG_METRICS, cache_configuration
from probe_ext.target.metrics.metrics_text import parse

MODELS = recordings.read("models_vllm_0.32.0.json")
IDLE = recordings.read("vllm_metrics_0.32.0_idle.txt")


def as_json(value):
    return (200, json.dumps(value).encode())


VLLM = {
    "/metrics": (200, IDLE),
    "/version": (200, recordings.read("version_vllm_0.32.0.json")),
    "/v1/models": (200, MODELS),
}


def identify(pages, host="", **options):
    with Loopback(pages) as server:
        entries = server_identity.identify(server.url + host, Fetcher(timeout=60), **options)
        for entry in entries:
            entry["url"] = entry["url"].replace(server.url, "")
            entry["metrics_url"] = entry["metrics_url"].replace(server.url, "")
        return entries


def test_vllm_entry():
    (entry,) = identify(VLLM)
    cache = entry.pop("cache")
    assert entry == {
        "url": "", "kind": "vllm", "version": "0.32.0", "models": ["tiny"], "max_model_len": 4096, "metrics": "ok",
        "models_error": None, "default_model": "tiny",
        "metrics_url": "/metrics",
    }  # fmt: skip
    assert (cache["num_gpu_blocks"], cache["block_size"], cache["kv_tokens"]) == (4096, 128, 524288)
    assert (cache["enable_prefix_caching"], cache["gpu_memory_utilization"], cache["cache_dtype"]) == (
        True,
        0.92,
        "auto",
    )
    assert "num_gpu_blocks_override" not in cache, "the label None means missing"


def test_old_vllm_tokens_are_blocks_times_block_size():
    page = parse(recordings.read("vllm_metrics_0.11.0.post2_idle.txt"), CONFIG_METRICS)
    assert cache_configuration(page)["kv_tokens"] == 64 * 16


def test_does_not_sum_blocks_over_engines():
    line = (
        'vllm:cache_config_info{{block_size="16",engine="{}",num_gpu_blocks="2000",enable_prefix_caching="True"}} 1\n'
    )
    cache = cache_configuration(parse(line.format(0) + line.format(1), CONFIG_METRICS))
    assert (cache["num_gpu_blocks"], cache["kv_tokens"], cache["engines"]) == (2000, 32000, 2)


TRITON = """\
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max"} 10
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per"} 64
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('sglang:max_total_num_tokens{tp_rank="0"} 5000\nsglang:page_size 1\n', {"kv_tokens": 5000, "block_size": 1}),
        ("tgi_batch_max_total_tokens 9000\n", {"kv_tokens": 9000}),
        ("trtllm_kv_cache_max_blocks 100\ntrtllm_kv_cache_tokens_per_block 64\n", {"kv_tokens": 6400}),
        (TRITON, {"kv_tokens": 640}),
        ("other 1\n", {}),
    ],
    ids=["sglang", "tgi", "trtllm", "triton", "none"],
)
def test_cache_of_other_engines(text, expected):
    assert expected.items() <= cache_configuration(parse(text, CONFIG_METRICS)).items()


def test_behind_a_gateway_prefix():
    (entry,) = identify({f"/team/llm{path}": page for path, page in VLLM.items()}, "/team/llm/")
    assert (entry["version"], entry["models"], entry["metrics_url"]) == ("0.32.0", ["tiny"], "/team/llm/metrics")


def test_ignores_a_gateways_own_metrics():
    pages = {f"/llm{path}": page for path, page in VLLM.items()} | {"/metrics": (200, b"gateway_requests_total 5\n")}
    (entry,) = identify(pages, "/llm/v1")
    assert (entry["metrics"], entry["metrics_url"]) == ("ok", "/llm/metrics")


def test_metrics_at_the_origin_of_a_prefixed_host():
    pages = {"/llm/v1/models": (200, MODELS), "/metrics": (200, IDLE), "/version": as_json({"version": "0.32.0"})}
    (entry,) = identify(pages, "/llm")
    assert (entry["metrics_url"], entry["version"]) == ("/metrics", "0.32.0")


def test_tensorrt_llms_metrics_path():
    pages = {"/metrics": (200, b"[]\n"), "/prometheus/metrics": (200, b"trtllm_num_requests_running 1\n")}
    (entry,) = identify(pages)
    assert (entry["kind"], entry["metrics"], entry["metrics_url"]) == ("tensorrt-llm", "ok", "/prometheus/metrics")


def test_each_given_url_has_an_entry():
    with Loopback(VLLM) as one, Loopback({"/metrics": (200, IDLE)}) as two, Loopback({}) as three:
        given = [f"{server.url}/metrics" for server in (one, two, three)]
        entries = server_identity.identify(one.url, Fetcher(), given)
        assert [entry["metrics"] for entry in entries] == ["ok", "ok", "404"]
        assert [entry["metrics_url"] for entry in entries] == given
        assert [entry["url"] for entry in entries] == [one.url, two.url, three.url]
        assert [entry["kind"] for entry in entries] == ["vllm", "vllm", "unknown"]


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ((404, b""), "404"),
        ((401, b""), "401 requires a key"),
        ((200, b"<html>login</html>\n"), "not Prometheus text: a login page (HTML)"),
        ((200, b"<!doctype html><h1>Dashboard</h1>"), "not Prometheus text: HTML"),
        ((200, b"<form action=/x><input type=password name=p></form>"), "not Prometheus text: a login page (HTML)"),
        ((200, b'{"detail":"Not Found"}'), "not Prometheus text: JSON"),
        ((200, b"go_goroutines 7\n"), "no metrics of a known engine"),
        ((200, b""), "empty response"),
    ],
)
def test_missing_metrics_have_a_reason(page, why):
    (entry,) = identify({**VLLM, "/metrics": page})
    assert (entry["metrics"], entry["kind"], entry["cache"]) == (why, "vllm", None)


def test_without_metrics_no_page_of_them_is_asked_for():
    with Loopback({**VLLM, "/metrics": (200, b"vllm:num_requests_running 1\n")}) as server:
        (entry,) = server_identity.identify(server.url, Fetcher(), with_metrics=False)
        asked = {path for _, path, _ in server.requests}
    assert (entry["metrics"], entry["metrics_url"], entry["kind"]) == ("off", None, "vllm")
    assert not any("metrics" in path for path in asked)


def test_ollama():
    pages = {
        "/v1/models": as_json({"data": [{"id": "qwen3:8b", "owned_by": "library"}]}),
        "/api/version": as_json({"version": "0.12.0"}),
    }
    (entry,) = identify(pages)
    assert (entry["kind"], entry["version"], entry["metrics"]) == ("ollama", "0.12.0", "404")
    assert (entry["max_model_len"], entry["models"]) == (None, ["qwen3:8b"])


def test_llama_cpp():
    props = {"total_slots": 2, "build_info": "b7000-abc", "default_generation_settings": {"n_ctx": 2048}}
    pages = {
        "/v1/models": as_json({"data": [{"id": "slow", "owned_by": "llamacpp"}]}),
        "/props": as_json(props),
        "/metrics": (200, recordings.read("llama_server_metrics_idle.txt")),
    }
    (entry,) = identify(pages)
    assert (entry["kind"], entry["version"], entry["max_model_len"]) == ("llama.cpp", "b7000-abc", 2048)
    assert entry["cache"] == {"slots": 2}


def test_sglang_secrets_are_not_copied():
    info = {"version": "0.5.9", "api_key": "sk-secret", "admin_api_key": "x"}
    pages = {
        "/v1/models": as_json({"data": [{"id": "m", "owned_by": "sglang", "max_model_len": 8192}]}),
        "/get_server_info": as_json(info),
        "/metrics": (200, b"sglang:num_running_reqs 0\nsglang:max_total_num_tokens 5000\n"),
    }
    (entry,) = identify(pages)
    assert (entry["version"], entry["max_model_len"], entry["cache"]["kv_tokens"]) == ("0.5.9", 8192, 5000)
    assert "sk-secret" not in json.dumps(entry)


def test_tgi():
    (entry,) = identify({"/info": as_json({"version": "3.3.7", "max_total_tokens": 4096})})
    assert (entry["kind"], entry["version"], entry["max_model_len"], entry["models"]) == ("tgi", "3.3.7", 4096, None)


def test_an_unreachable_host():
    entry = server_identity.identify("http://127.0.0.1:1", Fetcher(timeout=60))[0]
    assert (entry["kind"], entry["metrics"], entry["models"]) == ("unknown", "connection refused", None)
    assert entry["models_error"] == "connection refused"
    assert server_identity.models("http://127.0.0.1:1", Fetcher(timeout=60)) == Failed("connection refused")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"data": 5}', b'{"data": {"id": 1}}', b"\xff", b"[" * 100_000, b'{"data": null}']
)
def test_invalid_model_lists(body):
    with Loopback({"/v1/models": (200, body)}) as server:
        assert server_identity.models(server.url, Fetcher()) == Failed("/v1/models: not a list of models")


def test_skips_invalid_models():
    listed = {"data": [{"id": "m", "max_model_len": -5}, {"id": 7}, "x", {"id": "n", "max_model_len": True}]}
    with Loopback({"/v1/models": as_json(listed)}) as server:
        listed_models = server_identity.models(server.url, Fetcher())
    assert [(m.id, m.max_model_len) for m in listed_models] == [("m", None), ("n", None)]


def test_max_model_len_is_that_of_the_chosen_model():
    listed = {"data": [{"id": "a", "max_model_len": 100}, {"id": "b", "max_model_len": 200}]}
    assert identify({**VLLM, "/v1/models": as_json(listed)}, model="b")[0]["max_model_len"] == 200


def test_credentials_in_the_host_are_not_copied():
    entries = server_identity.identify("http://me:secret@127.0.0.1:1/x", Fetcher(timeout=60))
    assert "secret" not in json.dumps(entries)
    assert entries[0]["url"] == "http://127.0.0.1:1/x"


@pytest.mark.parametrize("host", ["", "nonsense", "http://[", "ftp://x"])
def test_invalid_hosts(host):
    assert server_identity.identify(host, Fetcher(timeout=60))[0]["metrics"] in (
        "not a URL",
        "invalid characters in host or key",
    )


@pytest.mark.parametrize(
    ("url", "other", "same"),
    [
        ("http://a/x", "http://a/y", True),
        ("http://a/x", "http://a:80/y", True),
        ("http://a/x", "https://a/x", True),
        ("https://a/x", "http://a/x", False),
        ("http://a:8000/x", "https://a/x", False),
        ("http://a/x", "http://b/x", False),
        ("http://a/x", "http://a:81/x", False),
        ("http://a/x", "http://a.evil.com/x", False),
    ],
)
def test_same_place(url, other, same):
    assert urls.same_place(url, other) is same


def recorded(name):
    return (200, recordings.read(name))


def test_recorded_llama_server():
    pages = {
        "/v1/models": recorded("models_llama_server.json"),
        "/props": recorded("props_llama_server.json"),
        "/tokenize": recorded("tokenize_llama_server.json"),
        "/apply-template": recorded("apply_template_llama_server.json"),
        "/metrics": recorded("llama_server_metrics_idle.txt"),
    }
    (entry,) = identify(pages)
    assert (entry["kind"], entry["version"], entry["models"]) == ("llama.cpp", "b1-0c1e570", ["tiny"])
    assert (entry["max_model_len"], entry["cache"]) == (4096, {"slots": 2})
    without = {path: page for path, page in pages.items() if path != "/metrics"}
    assert identify(without)[0]["kind"] == "llama.cpp"
    with Loopback(pages) as server:
        counter = token_count.find(server.url, "tiny", Fetcher())
        assert (counter.style, counter.text("one two three")) == ("llama.cpp", 6)


def test_recorded_vllm_tokenizer():
    with Loopback({"/tokenize": recorded("tokenize_vllm_0.32.0.json")}) as server:
        counter = token_count.find(server.url, "tiny", Fetcher())
        assert (counter.style, counter.text("one two three")) == ("vllm", 3)


class TestTokens:
    def test_vllm(self):
        def page(handler):
            request = json.loads(server.posted[-1])
            if "model" not in request:
                return send(handler, 422, b"{}")
            text = request.get("prompt") or request["messages"][0]["content"] + " t t t"
            return send(
                handler, 200, json.dumps({"count": len(text.split()), "max_model_len": 5, "tokens": []}).encode()
            )

        with Loopback({"/tokenize": page}) as server:
            counter = token_count.find(server.url + "/v1", "m", Fetcher())
            assert (counter.style, counter.text("a b"), counter.chat([{"role": "user", "content": "a b"}])) == (
                "vllm",
                2,
                5,
            )

    def test_llama_cpp(self):
        def tokenize(handler):
            content = json.loads(server.posted[-1]).get("content", "")
            send(handler, 200, json.dumps({"tokens": content.split()}).encode())

        pages = {"/tokenize": tokenize, "/apply-template": as_json({"prompt": "<user> a b <end>"})}
        with Loopback(pages) as server:
            counter = token_count.find(server.url, "m", Fetcher())
            assert (counter.style, counter.text("a b c"), counter.chat([])) == ("llama.cpp", 3, 4)

    def test_tgi(self):
        def page(handler):
            words = json.loads(server.posted[-1]).get("inputs")
            send(handler, *((200, json.dumps(words.split()).encode()) if words else (422, b"")))

        with Loopback({"/tokenize": page}) as server:
            counter = token_count.find(server.url, "m", Fetcher())
            assert (counter.style, counter.text("a b c"), counter.chat([])) == ("tgi", 3, None)

    @pytest.mark.parametrize("page", [(404, b""), (200, b"<html>"), (200, b"{}"), (200, b'{"count": -1}'), (401, b"")])
    def test_none(self, page):
        with Loopback({"/tokenize": page}) as server:
            assert token_count.find(server.url, "m", Fetcher()) is None

    def test_a_later_failure_is_none(self):
        with Loopback({"/tokenize": as_json({"count": 3})}) as server:
            counter = token_count.find(server.url, "m", Fetcher())
            server.pages["/tokenize"] = (500, b"")
            assert counter.text("x") is None


@pytest.mark.untraced
def test_thirty_thousand_models_cost_nothing():
    names = [f"model-{n}" for n in range(30_000)]
    pages = {"/v1/models": as_json({"data": [{"id": name} for name in names]})}
    (entry,) = identify(pages, model="model-29999")
    assert entry["models"] == [*names[:100], "model-29999"]
    assert len(identify(pages)[0]["models"]) == 100


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\x07", "a\u202eb", "", "x" * 301, "a\nb", 7, None])
def test_a_name_that_is_no_text_is_no_model(name):
    models = as_json({"data": [{"id": name}, {"id": "good"}]})
    (entry,) = identify({"/v1/models": models, "/version": as_json({"version": "1\x1b[31m\u202e2"})})
    assert entry["models"] == ["good"]
    assert entry["version"] == "1 [31m 2"


def test_a_list_of_unusable_names_is_not_called_empty():
    (entry,) = identify({"/v1/models": as_json({"data": [{"id": "a\x1b[31m"}, {"id": 7}]})})
    assert entry["models_error"] == "/v1/models: no model has a name of 1 to 300 printable characters"
