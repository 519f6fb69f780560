"""Metrics for a Prometheus: each reply counts once, missing values are in no histogram."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from flask import Flask, Response
from prometheus_client.parser import text_string_to_metric_families

from probe_ext.measure.table_rows import ReplyRow
from probe_ext.swarm.users.recorder import Recorder
from probe_ext.swarm.web.exporter import PATH, Exporter, serve
from tests.swarm.swarm_fakes import ask


def environment(**web: Any) -> SimpleNamespace:
    clients = {"a": SimpleNamespace(state="running"), "b": SimpleNamespace(state="missing")}
    runner = SimpleNamespace(user_count=7, target_user_count=8, clients=clients)
    app = Flask("test")
    ui = SimpleNamespace(app=app, auth_required_if_enabled=web.get("guard", lambda view: view))
    options = SimpleNamespace(web_base_path=web.get("base"))
    return SimpleNamespace(runner=runner, web_ui=ui, parsed_options=options)


def reply_row(**changes: Any) -> ReplyRow:
    return replace(ask(Recorder("w")), **changes)


def samples(text: str) -> dict[tuple[str, str], float]:
    """Return values by name and label values, in the labels' alphabetical order."""
    families = text_string_to_metric_families(text)
    return {
        (s.name, ",".join(value for _, value in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


def test_counts_replies_by_outcome() -> None:
    exporter = Exporter(environment())
    for outcome in ("complete", "complete", "stalled"):
        exporter.add(reply_row(scenario="capacity", outcome=outcome, tokens_out=10))
    told = samples(exporter.page().decode())
    assert told["probe_replies_total", "complete,capacity"] == 2
    assert told["probe_replies_total", "stalled,capacity"] == 1
    assert told["probe_reply_tokens_total", "capacity"] == 30


def test_reply_without_a_token_is_in_no_histogram() -> None:
    exporter = Exporter(environment())
    exporter.add(reply_row(sent=1.0, first=None, tpot=None, longest_gap=None, tokens_out=None))
    exporter.add(reply_row(sent=1.0, first=1.4, tpot=0.05, longest_gap=2.5))
    told = samples(exporter.page().decode())
    name = reply_row().scenario
    assert told["probe_ttft_seconds_count", name] == 1
    assert abs(told["probe_ttft_seconds_sum", name] - 0.4) < 1e-9
    assert told["probe_longest_gap_seconds_bucket", f"3.0,{name}"] == 1
    assert told["probe_longest_gap_seconds_bucket", f"2.0,{name}"] == 0
    assert told["probe_decode_tokens_per_second_sum", name] == 20


def test_gauges_show_current_users_and_workers() -> None:
    told = samples(Exporter(environment()).page().decode())
    assert (told["probe_users", ""], told["probe_users_target", ""]) == (7, 8)
    assert (told["probe_workers", "running"], told["probe_workers", "missing"]) == (1, 1)


def test_metrics_are_below_base_path_and_login() -> None:
    asked = []

    def guard(view: Callable[..., Response]) -> Callable[..., Response]:
        def guarded() -> Response:
            asked.append(view)
            return view()

        return guarded

    world = environment(base="/load/", guard=guard)
    serve(world, Exporter(world))
    client = world.web_ui.app.test_client()
    page = client.get(f"/load{PATH}")
    assert page.status_code == 200
    assert page.content_type.startswith("text/plain; version=0.0.4")
    assert "probe_users 7.0" in page.text
    assert len(asked) == 1
    assert page.headers["X-Frame-Options"] == "DENY"
    assert client.get(f"/load{PATH}", headers={"Origin": "https://evil.example"}).status_code == 403
