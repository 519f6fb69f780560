"""Before a run, every way in which kinds ask is tried: by API and by model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.client.api.request_form import RequestForm
from probe_ext.settings.options import Options
from probe_ext.swarm.preparation import kind_trials
from probe_ext.swarm.preparation.kind_trials import MAX_WAYS, Way, common_form, try_kinds, ways_of
from probe_ext.workload.workload_file import parse_workload

KINDS = parse_workload(
    {
        "kinds": [
            {"name": "a"},
            {"name": "b"},
            {"name": "c", "api": "messages"},
            {"name": "d", "model": {"names": {"base": 1, "adapter": 1}}},
        ]
    },
    "test",
    Path(),
)


def test_each_api_and_model_is_named_once_with_its_first_kind() -> None:
    assert ways_of(KINDS, Options(api="responses"), "base") == [
        Way("a", "responses", "base"),
        Way("c", "messages", "base"),
        Way("d", "responses", "adapter"),
    ]


def test_the_way_of_the_first_requests_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def try_server(host: str, model: str, options: Options, *_: Any) -> Any:
        asked.append((host, model, options.api, options.max_tokens))
        return f"trial of {model}"

    monkeypatch.setattr(kind_trials, "try_server", try_server)
    sample = Options(api="messages", max_tokens=70)
    prepared = SimpleNamespace(workload=KINDS, sample=sample)
    preparation: Any = SimpleNamespace(workload=prepared, model="base", host="http://x", prompts={})
    told: list[str] = []
    found = list(try_kinds(preparation, Options(), told.append))
    assert [(way.kind, trial) for way, trial in found] == [("a", "trial of base"), ("d", "trial of adapter")]
    assert asked == [("http://x", "base", "chat", 70), ("http://x", "adapter", "chat", 70)]
    assert len(told) == 2
    preparation.workload = None
    assert not list(try_kinds(preparation, Options(), told.append))
    many = {"name": "many", "model": {"zipf": {"names": [f"m{n}" for n in range(50)]}}}
    preparation.workload = SimpleNamespace(workload=parse_workload({"kinds": [many]}, "test", Path()), sample=sample)
    assert len(list(try_kinds(preparation, Options(), told.append))) == MAX_WAYS


def test_the_form_of_all_kinds_has_only_what_every_api_accepts() -> None:
    one = RequestForm("continuous", left_out=frozenset({"top_p"}))
    other = RequestForm("final", left_out=frozenset({"ignore_eos"}))
    both = common_form(one, other)
    assert (both.usage, both.left_out) == ("final", {"top_p", "ignore_eos"})
    assert common_form(RequestForm("none"), RequestForm("final")).usage == "none"
    assert common_form(one, RequestForm("continuous")) == one
