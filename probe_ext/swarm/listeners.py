"""Hook the package into Locust. Importing this module registers the listeners."""

from typing import Any

from locust import events, runners
from locust.env import Environment
from locust.runners import WorkerRunner

from probe_ext.exit_codes import ExitCode
from probe_ext.settings.secrets import swarm_token
from probe_ext.swarm.link import locust_frames
from probe_ext.swarm.locust_options import add_options
from probe_ext.swarm.master_wiring import wire_master
from probe_ext.swarm.preparation.local_workers import end_forked_workers_with_master, end_with_parent_of_variable
from probe_ext.swarm.process_memory import return_large_buffers
from probe_ext.swarm.terminal.console import exit_main, print_line
from probe_ext.swarm.users.kind_classes import takes_workload
from probe_ext.swarm.users.process_state import ProcessState
from probe_ext.swarm.worker_wiring import wire_worker

_WORKER_TIMEOUT_S = 8  # Locust's own 3 are too few on a crowded machine, and losing the last worker ends the run


def _exit_on_mismatch(why: str) -> None:
    print_line(why)
    exit_main(ExitCode.USAGE)


end_forked_workers_with_master()
end_with_parent_of_variable()  # now, as Locust sets a worker up only once it has joined
locust_frames.install()
locust_frames.watch_mismatch(_exit_on_mismatch)


@events.init_command_line_parser.add_listener
def _add_options(parser: Any, **_: Any) -> None:
    add_options(parser, takes_workload=takes_workload())
    try:
        swarm_token()
    except ValueError as error:
        parser.exit(ExitCode.USAGE, f"probe: {error}\n")


@events.init.add_listener
def _set_up(environment: Environment, **_: Any) -> None:
    runner = environment.runner
    process = ProcessState(environment, worker=runner.client_id if hasattr(runner, "client_id") else "master")
    environment.probe_state = process
    return_large_buffers()
    if isinstance(runner, WorkerRunner):
        wire_worker(process, runner)
    else:
        runners.HEARTBEAT_LIVENESS = _WORKER_TIMEOUT_S
        wire_master(process)
