"""A run in which everything that a server or a user may write is an attack on the page."""

from dataclasses import replace
from pathlib import Path

import synthetic_run

from probe_ext.measure.table_rows import ReplyRow, ServerRow
from probe_ext.run import manifest
from probe_ext.run.tables import TableWriter

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`&lt;{{ 7*7 }}"


def hostile_run(run: Path) -> Path:
    """Every place where a server or a user may write is written on."""
    content = synthetic_run.manifest_of(scenario=HOSTILE, locustfile=HOSTILE, end_reason=HOSTILE)
    content["target"] |= {"model": HOSTILE, "host": f"http://x/{HOSTILE}"}
    content["server"][0] |= {"kind": HOSTILE, "version": HOSTILE, "models": [HOSTILE], "cache": {HOSTILE: HOSTILE}}
    content["options"][HOSTILE] = HOSTILE
    content["findings"] = [
        {"check": HOSTILE, "state": "fail", "invalidates": False, "why": HOSTILE, "advice": HOSTILE},
        {"check": HOSTILE, "state": "pass", "invalidates": True, "why": HOSTILE, "advice": HOSTILE},
    ]
    manifest.write(run, content)
    row = replace(synthetic_run.reply(5000, 0, 10.0, 1), user=HOSTILE, message=HOSTILE, reply_id=HOSTILE)
    writer = TableWriter(run / "requests.csv", ReplyRow)
    writer.append([replace(row, outcome="http_error", finish_reason=HOSTILE, kind=HOSTILE)])
    writer.close()
    server = TableWriter(run / "server.csv", ServerRow)
    server.append([ServerRow(5.0, HOSTILE, HOSTILE, HOSTILE, 1.0)])
    server.close()
    return run
