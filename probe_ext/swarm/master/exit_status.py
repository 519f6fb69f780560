"""The exit code of a Locust process that ran or coordinated a run."""

from probe_ext.exit_codes import ExitCode
from probe_ext.swarm.master.active_run import ActiveRun
from probe_ext.swarm.terminal.console import print_line
from probe_ext.swarm.terminal.report_process import make_report
from probe_ext.verdict.values.plurals import things


def final_code(run: ActiveRun | None, locust_code: int, *, headless: bool, interrupted: bool) -> int:
    """Return the report's code, INVALID if rows were lost, INTERRUPTED after Ctrl-C, else Locust's own.

    Headless, the report is made here.
    """
    code = 0
    if headless and run is not None and not run.options.no_report:
        code = make_report(run.directory)
    if run is not None and run.collector.unwritten:
        lost = ", ".join(f"{things(lines, 'line')} of {name}" for name, lines in run.collector.unwritten.items())
        print_line(f"--out {run.directory}: the disk did not take {lost}")
        code = ExitCode.INVALID
    return ExitCode.INTERRUPTED if interrupted else code or locust_code
