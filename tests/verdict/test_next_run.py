"""The suggested command keeps the options of the run."""

import json
from typing import Any

from worlds import manifest

from probe_ext.settings.options import read_options
from probe_ext.verdict.wording.next_run import next_command


def command(locustfile: str = "capacity.py", **given: str) -> str:
    options: dict[str, Any] = json.loads(json.dumps(read_options(given).as_json()))
    return next_command(manifest(options=options, locustfile=locustfile), (4, 8), None, []) or ""


def test_options_at_their_defaults_are_not_repeated() -> None:
    assert command(levels="4,8") == "probe run capacity --host http://server:8000 --levels 4,5,6,7,8"


def test_changed_options_are_repeated_and_parse_to_the_same_values() -> None:
    asked = {"hold": "90s", "max_tokens": "16", "api": "completion", "slo": "batch", "temperature": "0.5"}
    suggested = command(**asked, metrics_url="http://server:9000/metrics,http://server:9001/metrics")
    given = dict(part[2:].split("=", 1) for part in suggested.split() if part.startswith("--") and "=" in part)
    assert read_options({name.replace("-", "_"): text for name, text in given.items()}) == read_options(
        {**asked, "metrics_url": "http://server:9000/metrics,http://server:9001/metrics"}
    )


def test_a_locustfile_of_the_user_is_named_by_its_path() -> None:
    assert command("./mine/reviewer.py").startswith("probe run ./mine/reviewer.py --host")
