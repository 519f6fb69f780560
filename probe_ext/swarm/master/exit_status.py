"""What a shell is told when Locust has ended."""

from probe_ext.exit_codes import ExitCode
from probe_ext.swarm.master.active_run import ActiveRun
from probe_ext.swarm.terminal.console import print_line
from probe_ext.swarm.terminal.report_process import make_report


def final_code(run: ActiveRun | None, locusts: int, *, headless: bool, signalled: str | None) -> int:
    """The report's code, or that rows were lost, or Ctrl-C's; else Locust's own. Headless, the report is made here."""
    code = 0
    if headless and run is not None and not run.options.no_report:
        code = make_report(run.directory)
    if run is not None and run.collector.unwritten:
        lost = ", ".join(f"{lines} lines of {name}" for name, lines in run.collector.unwritten.items())
        print_line(f"--out {run.directory}: the disk did not take {lost}")
        code = ExitCode.INVALID
    if signalled == "interrupted":
        return ExitCode.INTERRUPTED
    return code or locusts
