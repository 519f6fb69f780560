"""`/probe/metrics`: the load test's own figures, for a Prometheus to scrape from the master's web UI.

Counters go on over all runs of one web UI, as Prometheus expects; a run's verdict is in its report.
"""

from collections import Counter as CountBy
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Response
from locust.env import Environment
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from probe_ext.measure.table_rows import ReplyRow
from probe_ext.swarm.web.live_page_routes import restrict_to_same_origin

PATH = "/probe/metrics"
_SECONDS_BUCKETS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60, 120)
_RATE_BUCKETS = (1, 2, 5, 8, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300)
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exporter:
    """Counts the replies of all workers; user and worker gauges are read at each scrape."""

    def __init__(self, environment: Environment) -> None:
        self._registry = registry = CollectorRegistry()
        self._replies = Counter("probe_replies", "Finished replies.", ["scenario", "outcome"], registry=registry)
        self._tokens = Counter("probe_reply_tokens", "Tokens of finished replies.", ["scenario"], registry=registry)
        self._ttft = Histogram(
            "probe_ttft_seconds",
            "Time from sending a request to its first token.",
            ["scenario"],
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        self._gap = Histogram(
            "probe_longest_gap_seconds",
            "Longest inter-token gap of a reply.",
            ["scenario"],
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        self._rate = Histogram(
            "probe_decode_tokens_per_second",
            "Tokens per second of a reply, 1 / TPOT.",
            ["scenario"],
            buckets=_RATE_BUCKETS,
            registry=registry,
        )
        registry.register(_Gauges(environment))

    def add(self, row: ReplyRow) -> None:
        """Count a reply."""
        self._replies.labels(row.scenario, row.outcome).inc()
        if row.tokens_out is not None:
            self._tokens.labels(row.scenario).inc(row.tokens_out)
        if row.first is not None and row.sent is not None:
            self._ttft.labels(row.scenario).observe(row.first - row.sent)
        if row.longest_gap is not None:
            self._gap.labels(row.scenario).observe(row.longest_gap)
        if row.tpot:
            self._rate.labels(row.scenario).observe(1 / row.tpot)

    def page(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _Gauges:
    """Gauges read from Locust's runner at each scrape."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def collect(self) -> Iterator[Metric]:
        runner = self._environment.runner
        if runner is None:  # Locust creates it later
            return
        yield GaugeMetricFamily("probe_users", "Current users.", value=runner.user_count)
        target = getattr(runner, "target_user_count", None)
        if target is not None:
            yield GaugeMetricFamily("probe_users_target", "Target number of users.", value=target)
        workers = GaugeMetricFamily("probe_workers", "Workers by Locust's state.", labels=["state"])
        for state, number in CountBy(str(c.state) for c in getattr(runner, "clients", {}).values()).items():
            workers.add_metric([state], number)
        yield workers


def serve(environment: Environment, exporter: Exporter) -> None:
    """Add the page to Locust's web UI: below its base path, and behind its login if it has one."""
    base = environment.parsed_options.web_base_path or ""
    guarded: Callable[[Any], Any] = environment.web_ui.auth_required_if_enabled
    blueprint = Blueprint("probe_metrics", __name__)

    def metrics() -> Response:
        return Response(exporter.page(), content_type=_CONTENT_TYPE)

    restrict_to_same_origin(blueprint)
    blueprint.add_url_rule(base.rstrip("/") + PATH, "metrics", guarded(metrics), methods=["GET"])
    environment.web_ui.app.register_blueprint(blueprint)
