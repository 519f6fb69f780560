"""`/probe/metrics`: what the load test itself counts, for a Prometheus to scrape from the master's web UI.

Counters run on over all runs of one web UI, as Prometheus wants them; what is judged stands in a run's report.
"""

from collections import Counter as ReplyCounter
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Response
from locust.env import Environment
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from probe_ext.measure.table_rows import ReplyRow
from probe_ext.swarm.web.live_page_routes import keep_to_itself

PATH = "/probe/metrics"
_SECONDS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60, 120)
_RATES = (1, 2, 5, 8, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300)
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


class Exporter:
    """Counts replies as they come in from all workers, and tells of users and workers when it is asked."""

    def __init__(self, environment: Environment) -> None:
        self._registry = registry = CollectorRegistry()
        self._replies = Counter("probe_replies", "Replies that ended.", ["scenario", "outcome"], registry=registry)
        self._tokens = Counter("probe_reply_tokens", "Tokens of replies that ended.", ["scenario"], registry=registry)
        self._ttft = Histogram(
            "probe_ttft_seconds", "Sent to first token event.", ["scenario"], buckets=_SECONDS, registry=registry
        )
        self._gap = Histogram(
            "probe_longest_gap_seconds", "A reply's longest gap.", ["scenario"], buckets=_SECONDS, registry=registry
        )
        self._rate = Histogram(
            "probe_decode_rate", "A reply's tokens a second, 1 / TPOT.", ["scenario"], buckets=_RATES, registry=registry
        )
        registry.register(_Present(environment))

    def add(self, row: ReplyRow) -> None:
        """Count one reply; what it has no figure for is in no histogram."""
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
        """All of it, as Prometheus text."""
        return generate_latest(self._registry)


class _Present:
    """Gauges that are read off Locust's runner at the moment of a scrape."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def collect(self) -> Iterator[Metric]:
        runner = self._environment.runner
        if runner is None:  # Locust makes it after us
            return
        yield GaugeMetricFamily("probe_users", "Users there are.", value=runner.user_count)
        target = getattr(runner, "target_user_count", None)
        if target is not None:
            yield GaugeMetricFamily("probe_users_target", "Users there are to be.", value=target)
        workers = GaugeMetricFamily("probe_workers", "Workers by Locust's state of them.", labels=["state"])
        for state, number in ReplyCounter(str(c.state) for c in getattr(runner, "clients", {}).values()).items():
            workers.add_metric([state], number)
        yield workers


def serve(environment: Environment, exporter: Exporter) -> None:
    """Put the page beside Locust's own: behind the web UI's base path, and its login where it has one."""
    base = environment.parsed_options.web_base_path or ""
    guarded: Callable[[Any], Any] = environment.web_ui.auth_required_if_enabled
    ours = Blueprint("probe_metrics", __name__)

    def metrics() -> Response:
        return Response(exporter.page(), content_type=_EXPOSITION)

    keep_to_itself(ours)
    ours.add_url_rule(base.rstrip("/") + PATH, "metrics", guarded(metrics), methods=["GET"])
    environment.web_ui.app.register_blueprint(ours)
