"""Locust's own tables hold texts of servers and workers, too."""

import csv
from pathlib import Path
from typing import Any

from locust.env import Environment
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV

from probe_ext.swarm.run_files.locust_csv import LocustTables, PlainTables

EVIL = '=HYPERLINK("http://evil")\x1b[31m\u202e'


def told(environment: Any) -> None:
    """Fill Locust's statistics with the texts of a server and of a worker."""
    environment.create_local_runner().quit()  # it would watch its CPU for ever
    environment.stats.log_request("LLM", EVIL, 5, 1)
    environment.stats.log_error("LLM", EVIL, f"ValueError({EVIL})")
    environment.runner.log_exception("local", f"+{EVIL}", f"@line 1\n={EVIL}")


def check(rows: list[list[str]]) -> None:
    cells = [cell for row in rows for cell in row]
    assert any("HYPERLINK" in cell for cell in cells)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    assert not [cell for cell in cells if not cell.replace("\n", "").isprintable()]


def test_no_table_holds_a_formula_or_a_control_character(tmp_path: Path) -> None:
    environment: Any = Environment()
    tables = LocustTables(environment, tmp_path / "locust")
    told(environment)
    tables.finish()
    for name in ("stats", "failures", "exceptions", "stats_history"):
        with (tmp_path / f"locust_{name}.csv").open(newline="") as file:
            rows = list(csv.reader(file))
        assert len(rows) > 1
        if name != "stats_history" or any("HYPERLINK" in cell for row in rows for cell in row):
            check(rows)


def test_downloads_of_the_web_ui_are_plain_too() -> None:
    environment: Any = Environment()
    told(environment)
    tables = PlainTables(StatsCSV(environment, PERCENTILES_TO_REPORT))
    for name in ("requests_csv", "failures_csv", "exceptions_csv"):
        rows: list[list[str]] = []
        keeper: Any = type(
            "Keeper", (), {"writerow": lambda _, row, rows=rows: rows.append([str(cell) for cell in row])}
        )()
        getattr(tables, name)(keeper)
        check(rows)
    assert tables.percentiles_to_report == PERCENTILES_TO_REPORT
