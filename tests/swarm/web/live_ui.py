"""Locust's web UI with the live page and a fake run: without network, runner or greenlets."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask_login import UserMixin
from locust import User
from locust.env import Environment
from locust.web import WebUI
from worlds import CHAT, reply

from probe_ext.live import live_levels
from probe_ext.live.live_levels import rules_of
from probe_ext.live.live_run import LiveRun
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.measure.table_rows import ServerRow, UserRow
from probe_ext.settings.options import read_options
from probe_ext.swarm.link.clock_sync import SAME_CLOCK
from probe_ext.swarm.link.workers import Workers
from probe_ext.swarm.master.run_view import view_of
from probe_ext.swarm.web.run_display import RunDisplay
from probe_ext.verdict.grading.kind_profiles import KindProfiles
from tests.tracing import untraced

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True, scope="module")
def no_arguments() -> Iterator[None]:
    """Locust reads the form's fields from the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["locust"])
        yield


class Someone(User):
    """Locust needs a user class."""


class Person(UserMixin):
    """The logged-in user."""

    id = "somebody"


class Ui:
    """The web UI with a test client."""

    @untraced
    def __init__(self, base: str = "", login: bool = False) -> None:
        self.environment = Environment(user_classes=[Someone], host="http://x")
        options = {"web_base_path": base, "headless": False, "only_summary": False, "num_users": 1, "spawn_rate": 1}
        options |= {"web_login": login, "web_host": "127.0.0.1"}
        self.environment.parsed_options = Namespace(**options, run_time=None, stats_history_enabled=False)
        self.environment.create_local_runner().greenlet.kill()  # it would watch its CPU for ever
        web = WebUI(self.environment, "127.0.0.1", 0, web_base_path=base or None, web_login=login, delayed_start=True)
        web.app.secret_key = "for this test"
        if login:
            web.login_manager.user_loader(lambda _: Person())
        self.app: Any = web.app
        self.view = RunDisplay(self.environment)
        self.client = self.app.test_client()

    def log_in(self) -> None:
        """Log in like Locust's login page."""
        with self.client.session_transaction() as session:
            session["_user_id"], session["_fresh"] = "somebody", True

    def begin(self, directory: Path, seconds: int = 40, **more: Any) -> Any:
        """Begin a run of 4 users, then 8, ever slower."""
        directory.mkdir(parents=True, exist_ok=True)
        run: Any = a_run(self.environment, directory, seconds, **more)
        self.view.began(lambda: view_of(run))
        return run


@cache
@untraced
def a_live_run(seconds: int, model: str) -> LiveRun:
    """What is known of a run of 4 users, then 8; copy it. Estimates take no time, whatever the machine does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_levels, "clock", SimpleNamespace(monotonic=lambda: 0.0))
        return _live_run(seconds, model)


def _live_run(seconds: int, model: str) -> LiveRun:
    options = read_options({})
    live = LiveRun(rules_of(options.plan, KindProfiles(CHAT)), VisitMonitor(CHAT, options.min_replies))
    for second in range(seconds):
        t, users = float(second), 4 if second < seconds / 2 else 8
        live.on_users(UserRow(t, users, users, "running"))
        for user in range(users):
            if (second + user) % 3 == 0 and (user < 4 or t - 2.0 > seconds / 2):
                wait = 0.2 + (0.05 * second if t - 2.0 > seconds / 2 else 0.0)
                live.on_reply(reply(user, t - 2.0, first=t - 2.0 + wait, scenario=model, worker="w1"))
        told = {
            "kv_usage": min(1.0, second / 50),
            "running": users / 2,
            "waiting": users / 2,
            "preemptions": second // 20,
        }
        live.on_server([ServerRow(t, "u", "0", name, float(value)) for name, value in told.items()])
        live.cpu.add("w1", t, 0.2 * t)
        live.tick(t, final=second == seconds - 1)
    return live


@untraced
def a_run(environment: Environment, directory: Path, seconds: int, model: str = "demo") -> Any:
    """The parts of a run that are displayed."""
    options, profile = read_options({}), CHAT.model_dump(mode="json")
    workers = Workers()
    peer = workers.join("w1")
    peer.begun_at, peer.host = SAME_CLOCK, "here"
    made = SimpleNamespace(
        host="http://x",
        model=model,
        profile=profile,
        metrics_urls=("http://x/metrics",),
        by_host=(),
    )
    told = {"rows": 10, "started": 12, "finished": 10, "loop_lag_max": 0.01, "cpu_seconds": 1.0}
    return SimpleNamespace(
        id="r1",
        stream=None,
        plan=options.plan,
        scenario="capacity",
        directory=directory,
        started_unix=1.8e9,
        end_reason=None,
        environment=environment,
        options=options,
        preparation=made,
        workers=workers,
        live=deepcopy(a_live_run(seconds, model)),
        ended=None,
        steps=None,
        goes_on=False,
        collector=SimpleNamespace(reported={"w1": told}),
        now=lambda: float(seconds),
        problems=list,
    )
