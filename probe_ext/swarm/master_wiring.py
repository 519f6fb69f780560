"""Connect a master or a single-process Locust to the package: which of Locust's events calls what."""

import logging
from collections import Counter
from typing import Any

import gevent
from locust.runners import MasterRunner

from probe_ext.exit_codes import ExitCode
from probe_ext.loopback import is_loopback
from probe_ext.settings.secrets import (
    API_KEY_VARIABLE,
    SWARM_TOKEN_VARIABLE,
    WEB_PASSWORD_VARIABLE,
    has_api_key,
    swarm_token,
)
from probe_ext.swarm.link import messages
from probe_ext.swarm.link.bound_addresses import is_open, listen_problem
from probe_ext.swarm.locust_options import announces_ui, default_levels, offer_files
from probe_ext.swarm.master.coordinator import Coordinator
from probe_ext.swarm.master.run_phase import Phase
from probe_ext.swarm.preparation.local_workers import keep_exit_statuses
from probe_ext.swarm.preparation.wait_for_workers import join_command, outlive_workers, wait_for_workers
from probe_ext.swarm.run_end import RunEnd
from probe_ext.swarm.run_files.locust_csv import PlainTables
from probe_ext.swarm.run_start import RunStart
from probe_ext.swarm.terminal.console import exit_main, print_line
from probe_ext.swarm.terminal.signals import SignalEnd
from probe_ext.swarm.users.process_state import ProcessState
from probe_ext.swarm.users.recorder import watch_loop
from probe_ext.swarm.web.connection_limit import limit_connections
from probe_ext.swarm.web.exporter import Exporter, serve
from probe_ext.swarm.web.live_page_routes import address, web_ui_address
from probe_ext.swarm.web.login import add_login
from probe_ext.swarm.web.request_guard import guard_requests
from probe_ext.swarm.web.run_display import RunDisplay
from probe_ext.swarm.web.run_form import handle_form

logger = logging.getLogger(__name__)


def wire_master(process: ProcessState) -> None:
    """Set up what starts, measures, shows and ends runs. Headless, prepare the run; exit if it cannot work."""
    environment, given = process.environment, process.environment.parsed_options
    if environment.web_ui:
        offer_files(given)
        limit_connections()
        guard_requests(environment.web_ui.app, given.web_host, given.web_host_display_name)
        _warn_of_open_ui(given)
    is_master = isinstance(environment.runner, MasterRunner)
    if given.headless and is_master:  # before the coordinator, which checks messages before this handles them
        outlive_workers(environment.runner, lambda: coordinator.run is not None)
    if is_master:
        keep_exit_statuses()
    coordinator = Coordinator(process)
    display = RunDisplay(environment)
    start, end = RunStart(coordinator, display), RunEnd(coordinator, display)
    SignalEnd(end.on_signal, end.force_stop)
    if default_levels(given) or announces_ui(given):  # `probe run`, `probe ui`: tables would bury what we print
        logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)
    if is_master and not swarm_token() and not is_loopback(given.master_bind_host):
        print_line(
            f"whoever reaches port {given.master_bind_port} can join as a worker; set {SWARM_TOKEN_VARIABLE} "
            "for the master and all workers, or bind it elsewhere with --master-bind-host"
        )
    if environment.web_ui and (problem := listen_problem(given.web_host, given.web_port)):
        start.refuse(problem)
    start.prepare()
    if environment.web_ui:
        _wire_web(process, coordinator, start)
    if is_master and (given.headless or given.autostart):
        end.waiting = gevent.spawn(_wait_for_workers, coordinator, display)
    if coordinator.local:
        gevent.spawn(lambda: watch_loop(lambda: process.recorder, gevent.sleep))
    environment.runner.register_message(messages.END, lambda msg, **_: gevent.spawn(end.on_scenario_end, msg.data))
    events = environment.events
    events.test_start.add_listener(lambda **_: start.on_test_start())
    events.test_stopping.add_listener(lambda **_: coordinator.drain())
    events.test_stop.add_listener(lambda **_: end.on_test_stop())
    events.quit.add_listener(end.on_quit)


def _warn_of_open_ui(given: Any) -> None:
    """Say it loudly if strangers can use the API key: they choose the server that it is sent to."""
    if has_api_key() and is_open(given):
        print_line(
            f"WARNING: whoever reaches port {given.web_port} can start runs with your {API_KEY_VARIABLE}; "
            f"use --web-host 127.0.0.1, or --web-login with {WEB_PASSWORD_VARIABLE}"
        )


def _wire_web(process: ProcessState, coordinator: Coordinator, start: RunStart) -> None:
    environment = process.environment
    add_login(environment)
    given = environment.parsed_options
    logger.info("probe: live view at %s", address(given))
    if announces_ui(given):
        print_line(f"web UI at {web_ui_address(given)} (Ctrl-C ends it)")
    running = {Phase.RUNNING, Phase.DRAINING, Phase.DRAINED}
    handle_form(environment, lambda: coordinator.phase.now in running, start.take_form, start.cancel)
    exporter = Exporter(environment)
    process.on_reply = exporter.add
    serve(environment, exporter)
    environment.web_ui.stats_csv_writer = PlainTables(environment.web_ui.stats_csv_writer)


def _wait_for_workers(coordinator: Coordinator, display: RunDisplay) -> None:
    """Wait with a message. Locust waits in silence, and gives up with the exit code of a missed gate."""
    environment, given = coordinator.process.environment, coordinator.process.environment.parsed_options
    limit, given.expect_workers_max_wait = given.expect_workers_max_wait or 0, 0
    hint = None if given.processes else f"start one with {join_command(given.master_bind_host, given.master_bind_port)}"

    def present() -> Counter[str]:
        return coordinator.workers.count_by_host(environment.runner.clients.values())

    if not wait_for_workers(present, given.expect_workers, limit, hint, display.preparing, gevent.sleep):
        environment.runner.quit()
        exit_main(ExitCode.USAGE)
