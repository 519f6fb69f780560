"""Who a server is, from recorded and made-up pages behind a loopback socket."""

import json

import pytest
import recordings
from loopback import Loopback, send

from probe_ext.target import identity, token_count, urls
from probe_ext.target.cache_config import CONFIG, cache_configuration
from probe_ext.target.call_result import Failed
from probe_ext.target.fetch import Fetcher
from probe_ext.target.metrics_text import parse

MODELS = recordings.read("models_vllm_0.32.0.json")
IDLE = recordings.read("vllm_metrics_0.32.0_idle.txt")


def as_json(value):
    return (200, json.dumps(value).encode())


VLLM = {
    "/metrics": (200, IDLE),
    "/version": (200, recordings.read("version_vllm_0.32.0.json")),
    "/v1/models": (200, MODELS),
}


def identified(pages, host="", **options):
    with Loopback(pages) as server:
        told = identity.identify(server.url + host, Fetcher(timeout=60), **options)
        for entry in told:
            entry["url"] = entry["url"].replace(server.url, "")
            entry["metrics_url"] = entry["metrics_url"].replace(server.url, "")
        return told


def test_a_vllm():
    (told,) = identified(VLLM)
    cache = told.pop("cache")
    assert told == {
        "url": "", "kind": "vllm", "version": "0.32.0", "models": ["tiny"], "max_model_len": 4096, "metrics": "ok",
        "models_error": None,
        "metrics_url": "/metrics",
    }  # fmt: skip
    assert (cache["num_gpu_blocks"], cache["block_size"], cache["kv_tokens"]) == (4096, 128, 524288)
    assert (cache["enable_prefix_caching"], cache["gpu_memory_utilization"], cache["cache_dtype"]) == (
        True,
        0.92,
        "auto",
    )
    assert "num_gpu_blocks_override" not in cache, "None is missing"


def test_old_vllm_multiplies_blocks():
    page = parse(recordings.read("vllm_metrics_0.11.0.post2_idle.txt"), CONFIG)
    assert cache_configuration(page)["kv_tokens"] == 64 * 16


def test_the_blocks_of_several_engines_are_already_a_sum():
    line = (
        'vllm:cache_config_info{{block_size="16",engine="{}",num_gpu_blocks="2000",enable_prefix_caching="True"}} 1\n'
    )
    cache = cache_configuration(parse(line.format(0) + line.format(1), CONFIG))
    assert (cache["num_gpu_blocks"], cache["kv_tokens"], cache["engines"]) == (2000, 32000, 2)


TRITON = """\
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max"} 10
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per"} 64
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('sglang:max_total_num_tokens{tp_rank="0"} 5000\nsglang:page_size 1\n', {"kv_tokens": 5000, "block_size": 1}),
        ("tgi_batch_max_total_tokens 9000\n", {"kv_tokens": 9000}),
        ("trtllm_kv_cache_max_blocks 100\ntrtllm_kv_cache_tokens_per_block 64\n", {"kv_tokens": 6400}),
        (TRITON, {"kv_tokens": 640}),
        ("other 1\n", {}),
    ],
    ids=["sglang", "tgi", "trtllm", "triton", "none"],
)
def test_cache_of_other_engines(text, told):
    assert told.items() <= cache_configuration(parse(text, CONFIG)).items()


def test_behind_a_gateway_prefix():
    (told,) = identified({f"/team/llm{path}": page for path, page in VLLM.items()}, "/team/llm/")
    assert (told["version"], told["models"], told["metrics_url"]) == ("0.32.0", ["tiny"], "/team/llm/metrics")


def test_a_gateway_whose_own_metrics_are_of_no_use():
    pages = {f"/llm{path}": page for path, page in VLLM.items()} | {"/metrics": (200, b"gateway_requests_total 5\n")}
    (told,) = identified(pages, "/llm/v1")
    assert (told["metrics"], told["metrics_url"]) == ("ok", "/llm/metrics")


def test_metrics_at_the_origin_of_a_prefixed_host():
    pages = {"/llm/v1/models": (200, MODELS), "/metrics": (200, IDLE), "/version": as_json({"version": "0.32.0"})}
    (told,) = identified(pages, "/llm")
    assert (told["metrics_url"], told["version"]) == ("/metrics", "0.32.0")


def test_tensorrt_llm_keeps_its_metrics_elsewhere():
    pages = {"/metrics": (200, b"[]\n"), "/prometheus/metrics": (200, b"trtllm_num_requests_running 1\n")}
    (told,) = identified(pages)
    assert (told["kind"], told["metrics"], told["metrics_url"]) == ("tensorrt-llm", "ok", "/prometheus/metrics")


def test_given_urls_each_get_an_entry():
    with Loopback(VLLM) as one, Loopback({"/metrics": (200, IDLE)}) as two, Loopback({}) as three:
        given = [f"{server.url}/metrics" for server in (one, two, three)]
        told = identity.identify(one.url, Fetcher(), given)
        assert [entry["metrics"] for entry in told] == ["ok", "ok", "404"]
        assert [entry["metrics_url"] for entry in told] == given
        assert [entry["url"] for entry in told] == [one.url, two.url, three.url]
        assert [entry["kind"] for entry in told] == ["vllm", "vllm", "unknown"]


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ((404, b""), "404"),
        ((401, b""), "401 needs a key"),
        ((200, b"<html>login</html>\n"), "not Prometheus text: HTML"),
        ((200, b"go_goroutines 7\n"), "metrics of no engine known here"),
        ((200, b""), "an empty answer"),
    ],
)
def test_no_metrics_says_why(page, why):
    (told,) = identified({**VLLM, "/metrics": page})
    assert (told["metrics"], told["kind"], told["cache"]) == (why, "vllm", None)


def test_ollama():
    pages = {
        "/v1/models": as_json({"data": [{"id": "qwen3:8b", "owned_by": "library"}]}),
        "/api/version": as_json({"version": "0.12.0"}),
    }
    (told,) = identified(pages)
    assert (told["kind"], told["version"], told["metrics"]) == ("ollama", "0.12.0", "404")
    assert (told["max_model_len"], told["models"]) == (None, ["qwen3:8b"])


def test_llama_cpp():
    props = {"total_slots": 2, "build_info": "b7000-abc", "default_generation_settings": {"n_ctx": 2048}}
    pages = {
        "/v1/models": as_json({"data": [{"id": "slow", "owned_by": "llamacpp"}]}),
        "/props": as_json(props),
        "/metrics": (200, recordings.read("llama_server_metrics_idle.txt")),
    }
    (told,) = identified(pages)
    assert (told["kind"], told["version"], told["max_model_len"]) == ("llama.cpp", "b7000-abc", 2048)
    assert told["cache"] == {"slots": 2}


def test_sglang_secrets_stay_where_they_are():
    info = {"version": "0.5.9", "api_key": "sk-secret", "admin_api_key": "x"}
    pages = {
        "/v1/models": as_json({"data": [{"id": "m", "owned_by": "sglang", "max_model_len": 8192}]}),
        "/get_server_info": as_json(info),
        "/metrics": (200, b"sglang:num_running_reqs 0\nsglang:max_total_num_tokens 5000\n"),
    }
    (told,) = identified(pages)
    assert (told["version"], told["max_model_len"], told["cache"]["kv_tokens"]) == ("0.5.9", 8192, 5000)
    assert "sk-secret" not in json.dumps(told)


def test_tgi():
    (told,) = identified({"/info": as_json({"version": "3.3.7", "max_total_tokens": 4096})})
    assert (told["kind"], told["version"], told["max_model_len"], told["models"]) == ("tgi", "3.3.7", 4096, None)


def test_a_wrong_host_is_no_crash():
    told = identity.identify("http://127.0.0.1:1", Fetcher(timeout=60))[0]
    assert (told["kind"], told["metrics"], told["models"]) == ("unknown", "connection refused", None)
    assert told["models_error"] == "connection refused"
    assert identity.models("http://127.0.0.1:1", Fetcher(timeout=60)) == Failed("connection refused")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"data": 5}', b'{"data": {"id": 1}}', b"\xff", b"[" * 100_000, b'{"data": null}']
)
def test_garbage_instead_of_models(body):
    with Loopback({"/v1/models": (200, body)}) as server:
        assert identity.models(server.url, Fetcher()) == Failed("/v1/models: not a list of models")


def test_odd_entries_among_models_are_left_out():
    listed = {"data": [{"id": "m", "max_model_len": -5}, {"id": 7}, "x", {"id": "n", "max_model_len": True}]}
    with Loopback({"/v1/models": as_json(listed)}) as server:
        told = identity.models(server.url, Fetcher())
    assert [(m.id, m.max_model_len) for m in told] == [("m", None), ("n", None)]


def test_the_length_is_that_of_the_chosen_model():
    listed = {"data": [{"id": "a", "max_model_len": 100}, {"id": "b", "max_model_len": 200}]}
    assert identified({**VLLM, "/v1/models": as_json(listed)}, model="b")[0]["max_model_len"] == 200


def test_no_secret_of_the_host_is_written():
    told = identity.identify("http://me:secret@127.0.0.1:1/x", Fetcher(timeout=60))
    assert "secret" not in json.dumps(told)
    assert told[0]["url"] == "http://127.0.0.1:1/x"


@pytest.mark.parametrize("host", ["", "nonsense", "http://[", "ftp://x"])
def test_what_is_no_host(host):
    assert identity.identify(host, Fetcher(timeout=60))[0]["metrics"] in ("not a URL", "host or key cannot be sent")


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
def test_where_a_key_may_go(url, other, same):
    assert urls.same_place(url, other) is same


def recorded(name):
    return (200, recordings.read(name))


def test_a_recorded_llama_server():
    pages = {
        "/v1/models": recorded("models_llama_server.json"),
        "/props": recorded("props_llama_server.json"),
        "/tokenize": recorded("tokenize_llama_server.json"),
        "/apply-template": recorded("apply_template_llama_server.json"),
        "/metrics": recorded("llama_server_metrics_idle.txt"),
    }
    (told,) = identified(pages)
    assert (told["kind"], told["version"], told["models"]) == ("llama.cpp", "b1-0c1e570", ["tiny"])
    assert (told["max_model_len"], told["cache"]) == (4096, {"slots": 2})
    without = {path: page for path, page in pages.items() if path != "/metrics"}
    assert identified(without)[0]["kind"] == "llama.cpp"
    with Loopback(pages) as server:
        counter = token_count.find(server.url, "tiny", Fetcher())
        assert (counter.style, counter.text("one two three")) == ("llama.cpp", 6)


def test_a_recorded_vllm_tokenizer():
    with Loopback({"/tokenize": recorded("tokenize_vllm_0.32.0.json")}) as server:
        counter = token_count.find(server.url, "tiny", Fetcher())
        assert (counter.style, counter.text("one two three")) == ("vllm", 3)


class TestTokens:
    def test_vllm(self):
        def page(handler):
            asked = json.loads(server.posted[-1])
            if "model" not in asked:
                return send(handler, 422, b"{}")
            text = asked.get("prompt") or asked["messages"][0]["content"] + " t t t"
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

    def test_a_count_that_fails_later_is_none(self):
        with Loopback({"/tokenize": as_json({"count": 3})}) as server:
            counter = token_count.find(server.url, "m", Fetcher())
            server.pages["/tokenize"] = (500, b"")
            assert counter.text("x") is None
