"""Additions to Locust's own web UI: two tabs, and downloads.

Locust's page fills additional tables from the answer of `/stats/requests`.
"""

from collections.abc import Callable
from typing import Any

import orjson
from flask import Response, request
from locust.env import Environment

from probe_ext.live.live_levels import LevelNow
from probe_ext.live.live_run import LiveRun
from probe_ext.measure.rate import as_json
from probe_ext.run import directory
from probe_ext.swarm.web import statistics_tab
from probe_ext.swarm.web.live_page_routes import PREFIX
from probe_ext.swarm.web.locust_index import LocustIndex
from probe_ext.swarm.web.statistics_tab import rounded
from probe_ext.verdict.phrasing.plurals import cause, listed

LEVELS, STREAMING = "levels", "streaming"
_TABS = {LEVELS: "Users served", STREAMING: "TTFT, gaps"}
_LEVEL_COLUMNS = {
    "people": "Users",
    "state": "Level",
    "why": "Limited by",
    "served": "Replies served (%)",
    "low": "95 % from (%)",
    "high": "95 % to (%)",
    "replies": "Replies",
    "ttft": "TTFT p95 (s)",
    "typing": "Decode rate p50 (tok/s per reply)",
    "silence": "Longest gap (s)",
    "kv": "KV peak (%)",
    "preemptions": "Preemptions",
}
_DOWNLOADS = {
    "Capacity report": directory.CAPACITY_HTML,
    "Download verdict JSON": directory.CAPACITY_JSON,
    "Download replies CSV": directory.REQUESTS,
    "Download gaps CSV": directory.GAPS,
    "Download users CSV": directory.USERS,
    "Download server metrics CSV": directory.SERVER,
}


def add_tabs(environment: Environment, live_run: Callable[[], LiveRun | None]) -> None:
    """Add the tabs, the downloads, and what stands beside Locust's page."""
    web_ui, index = environment.web_ui, LocustIndex(environment, PREFIX)
    newest = f".{PREFIX}/runs/newest/"
    additions: dict[str, list[dict[str, Any]]] = {
        "extended_tabs": [{"title": title, "key": key} for key, title in _TABS.items()],
        "extended_tables": [
            {"key": key, "structure": [{"key": name, "title": title} for name, title in columns.items()]}
            for key, columns in ((LEVELS, _LEVEL_COLUMNS), (STREAMING, statistics_tab.COLUMNS))
        ],
        "extended_csv_files": [
            {"title": "Live view: users served", "href": f".{PREFIX}/"},
            *({"title": title, "href": newest + name} for title, name in _DOWNLOADS.items()),
        ],
    }
    for kind, more in additions.items():
        web_ui.template_args[kind] = [*web_ui.template_args.get(kind, []), *more]

    def fill(response: Response) -> Response:
        if response.status_code != 200:
            return response
        if request.endpoint == "locust.request_stats":
            return _with_tables(response, live_run())
        if request.endpoint == "locust.index":
            index.add(response)
        return response

    web_ui.app.after_request(fill)


def _with_tables(response: Response, live: LiveRun | None) -> Response:
    """Replace our tables in the answer, which Locust caches for two seconds."""
    levels = live.levels.all if live else []
    answer = orjson.loads(response.get_data())
    rows = {
        LEVELS: [_level_row(level) for level in reversed(levels)],
        STREAMING: statistics_tab.rows(live.names, answer.get("stats", [])) if live else [],
    }
    others = [table for table in answer.get("extended_stats", []) if table.get("key") not in rows]
    answer["extended_stats"] = [*others, *({"key": key, "data": data} for key, data in rows.items())]
    response.set_data(orjson.dumps(answer))
    return response


def _level_row(level: LevelNow) -> dict[str, Any]:
    return {
        "people": as_json(level.users),
        "state": state_text(level),
        "why": listed([cause(dimension) for dimension in level.why]) if level.state == "failed" else "",
        "served": rounded(level.served_share, 100, 1),
        "low": rounded(level.served_share_low, 100, 1),
        "high": rounded(level.served_share_high, 100, 1),
        "replies": level.replies,
        "ttft": rounded(level.ttft_p95, 1, 3),
        "typing": rounded(level.decode_rate_p50, 1, 1),
        "silence": rounded(level.longest_gap_max, 1, 3),
        "kv": rounded(level.kv_usage_max, 100, 0),
        "preemptions": level.preemptions,
    }


def state_text(level: LevelNow) -> str:
    """Return `so far: holds`, `failed`, `not proven`; of a second visit, with a note."""
    if level.t_end is None:
        state = {"held": "holds", "failed": "fails", "unproven": "not proven yet"}[level.state]
        state = f"so far: {'too early to say' if level.is_early else state}"
    else:
        state = {"held": "held", "failed": "failed", "unproven": "not proven"}[level.state]
    return f"{state} (second visit)" if level.visit > 1 else state
