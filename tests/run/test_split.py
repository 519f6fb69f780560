"""A run over several servers becomes one run directory for each: every row goes to its server, and none is lost."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probe_ext.measure.table_rows import GapRow, GpuRow, ServerRow, UserRow
from probe_ext.run import manifest, tables
from probe_ext.run.directory import make_run_directory
from probe_ext.run.manifest import ManifestError
from probe_ext.run.split import split
from tests.report.synthetic_run import reply

KINDS = ("fast one", "slow")
URLS = {"fast one": "http://h:1", "slow": "http://h:2"}


def of_host(kind: str) -> dict[str, Any]:
    url = URLS[kind]
    return {
        "target": {"host": url, "model": kind},
        "server": [{"url": url, "metrics_url": f"{url}/metrics"}],
        "workload": {"kinds": [{"name": kind, "host": url}]},
        "findings": [{"check": "metrics", "state": "fail", "why": kind}],
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Twelve replies, every third to the slow server; one of them only in its worker's own copy."""
    path = tmp_path / "run"
    path.mkdir()
    replies = [replace(reply(n, n % 2, float(n), 1), scenario=KINDS[n % 3 == 0]) for n in range(12)]
    replies = [replace(row, reply_id=f"{row.worker}:{n}") for n, row in enumerate(replies)]
    gaps = [GapRow(row.reply_id, row.due, row.due + 0.5, 1) for row in replies]
    tables.replace_table(path / "requests.csv", type(replies[0]), replies[:11])
    tables.replace_table(path / "requests-w2.csv", type(replies[0]), [row for row in replies if row.worker == "w2"])
    tables.replace_table(path / "gaps.csv", GapRow, gaps[:11])
    tables.replace_table(path / "gaps-w2.csv", GapRow, [gap for gap in gaps if gap.reply_id.startswith("w2")])
    tables.replace_table(
        path / "users.csv", UserRow, [UserRow(1.0, 7, 8, "spawning", 3.0), UserRow(2.0, 8, 8, "running", 3.0)]
    )
    served = [ServerRow(1.0, f"{URLS[kind]}/metrics", "0", "running", n) for n, kind in enumerate(KINDS)]
    tables.replace_table(path / "server.csv", ServerRow, served)
    tables.replace_table(path / "gpu.csv", GpuRow, [GpuRow(1.0, "http://h:2/gpu", "0", "power", 200.0)])
    lines = [
        {"metric": f"{metric}/{kind}", "start": 0, "seconds": 1, "count": 3} for metric in ("tokens",) for kind in KINDS
    ]
    (path / "sketches.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stats = ["Type,Name,Request Count,Failure Count", "LLM,fast one,8,0", "LLM,slow,4,1", "TTFT,slow,4,0"]
    (path / "locust_stats.csv").write_text("\n".join([*stats, ",Aggregated,12,1", ""]))
    manifest.write(
        path,
        {
            "schema": 2,
            "run_id": "id",
            "options": {"gpu_metrics": ["http://h:2/gpu#0"]},
            "arrivals": {"seed": 1, "give_up": 9.0, "give_up_of": {"slow": 4.0}, "segments": []},
            "workers": [
                {"id": "w1", "started": 6, "started_by_kind": {"fast one": 4, "slow": 2}, "rows": 6},
                {"id": "w2", "started": 6, "started_by_kind": {"fast one": 4, "slow": 2}, "rows": 5},
            ],
            "findings": [],
            "by_host": {kind: of_host(kind) for kind in KINDS},
        },
    )
    return path


def test_every_row_goes_to_its_server_and_none_is_lost(run: Path) -> None:
    parts = split(run)
    assert {kind: path.name for kind, path in parts.items()} == {"fast one": "fast-one", "slow": "slow"}
    found = {kind: rows(path / "requests.csv") for kind, path in parts.items()}
    assert {kind: {row["scenario"] for row in own} for kind, own in found.items()} == {kind: {kind} for kind in KINDS}
    assert {kind: len(own) for kind, own in found.items()} == {"fast one": 8, "slow": 4}
    ids = [row["reply_id"] for own in found.values() for row in own]
    assert sorted(ids) == sorted(
        {row["reply_id"] for name in ("requests", "requests-w2") for row in rows(run / f"{name}.csv")}
    )
    original = {row["reply_id"]: row for row in rows(run / "requests.csv")}
    assert all(original.get(row["reply_id"], row) == row for own in found.values() for row in own)
    for kind, path in parts.items():
        assert {row["reply_id"] for row in rows(path / "gaps.csv")} == {row["reply_id"] for row in found[kind]}


def test_metrics_go_by_their_url_and_windows_by_their_kind(run: Path) -> None:
    parts = split(run)
    for kind, path in parts.items():
        assert [row["url"] for row in rows(path / "server.csv")] == [f"{URLS[kind]}/metrics"]
        (window,) = map(json.loads, (path / "sketches.jsonl").read_text().splitlines())
        assert window == {"metric": "tokens", "start": 0, "seconds": 1, "count": 3}
    assert rows(parts["fast one"] / "gpu.csv") == []
    assert len(rows(parts["slow"] / "gpu.csv")) == 1


def test_connections_are_shared_out_as_they_are_dispatched(run: Path) -> None:
    parts = split(run)
    assert [row["users"] for row in rows(parts["fast one"] / "users.csv")] == ["4", "4"]
    assert [row["users"] for row in rows(parts["slow"] / "users.csv")] == ["3", "4"]
    assert {row["target"] for row in rows(parts["slow"] / "users.csv")} == {"4"}


def test_locusts_counts_are_those_of_the_server(run: Path) -> None:
    (*_, total) = rows(split(run)["slow"] / "locust_stats.csv")
    assert (total["Name"], total["Request Count"], total["Failure Count"]) == ("Aggregated", "4", "1")


def test_each_server_has_a_manifest_of_its_own(run: Path) -> None:
    own = manifest.read(split(run)["slow"])
    assert own["target"]["host"] == URLS["slow"]
    assert own["run_id"] == "id-slow"
    assert own["by_host"] is None
    assert own["arrivals"]["give_up"] == 4.0
    assert [(worker["id"], worker["started"], worker["rows"]) for worker in own["workers"]] == [
        ("w1", 2, 2),
        ("w2", 2, 2),
    ]
    assert [finding["why"] for finding in own["findings"]] == ["slow"]


@pytest.mark.parametrize(("merged", "started"), [([], 1), ([{"worker": "w2", "replies": 1}], 2)])
def test_rows_that_were_merged_had_been_started(run: Path, merged: list[dict[str, Any]], started: int) -> None:
    content = manifest.read(run)
    content["workers"][1]["started_by_kind"]["slow"] = 1
    manifest.write(run, {**content, "merged": merged})
    assert manifest.read(split(run)["slow"])["workers"][1]["started"] == started


@pytest.mark.parametrize(
    ("said", "started"),
    [
        ({"started": 0}, 0),
        ({"started": None}, None),
        ({"started": 5}, None),
        ({"started": 5, "started_by_kind": {"slow": "x"}}, None),
    ],
)
def test_how_many_a_worker_started_is_not_guessed(run: Path, said: dict[str, Any], started: int | None) -> None:
    content = manifest.read(run)
    content["workers"][1] = {"id": "w2", "started_by_kind": None, **said}
    manifest.write(run, {**content, "merged": [{"worker": "w2", "replies": 1}] if "started_by_kind" in said else []})
    assert manifest.read(split(run)["slow"])["workers"][1]["started"] == started


def test_what_is_of_no_server_is_said_and_lost_replies_invalidate(run: Path) -> None:
    with (run / "requests.csv").open("a") as file:
        file.write("w1:99,w1,w1:0,nobody\n")
    with (run / "gaps.csv").open("a") as file:
        file.write("w1:98,1.0,2.0")
    for path in split(run).values():
        (finding,) = [one for one in manifest.read(path)["findings"] if one["check"] == "files"]
        assert finding["why"] == (
            "Some data could not be read: requests.csv: 1 line belongs to no server; "
            "gaps.csv: the last line is cut off."
        )
        assert finding["invalidates"]


@pytest.mark.parametrize("line", [b"w1:99\rw1\n", b"x" * 200_000 + b"\n"])
@pytest.mark.parametrize("longest", [131_072, 1_000_000])  # of a cell: whoever reads prompt files raises it
def test_a_line_that_is_no_csv_is_said_and_the_others_are_split(
    run: Path, line: bytes, longest: int, request: pytest.FixtureRequest
) -> None:
    before = csv.field_size_limit(longest)
    request.addfinalizer(lambda: csv.field_size_limit(before))
    whole = {path.name: len(rows(path / "requests.csv")) for path in split(run).values()}
    for name in ("requests.csv", "locust_stats.csv"):
        with (run / name).open("ab") as file:
            file.write(line)
    for path in split(run).values():
        (finding,) = [one for one in manifest.read(path)["findings"] if one["check"] == "files"]
        assert finding["why"] == (
            "Some data could not be read: locust_stats.csv: 1 line belongs to no server; "
            "requests.csv: 1 line belongs to no server."
        )
        assert len(rows(path / "requests.csv")) == whole[path.name]


def test_a_second_split_replaces_the_first(run: Path) -> None:
    first = {kind: (path / "requests.csv").read_bytes() for kind, path in split(run).items()}
    assert {kind: (path / "requests.csv").read_bytes() for kind, path in split(run).items()} == first
    assert not list(run.rglob("*.new"))


def test_a_run_of_one_server_is_not_split(run: Path) -> None:
    manifest.write(run, {**manifest.read(run), "by_host": None})
    assert split(run) == {}
    assert not (run / "servers").exists()


@pytest.mark.parametrize("by_host", [{"../x": {}}, {"a": 3}, [1], {"slow": {"findings": 5}}])
def test_a_damaged_manifest_is_refused(run: Path, by_host: Any) -> None:
    manifest.write(run, {**manifest.read(run), "by_host": by_host})
    with pytest.raises(ManifestError, match=r"run\.json: "):
        split(run)
    assert not (run / "servers").exists()


def test_nothing_is_written_through_a_link(run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run / "servers").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ManifestError, match="is a link"):
        split(run)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_force_removes_the_servers_of_the_run_and_leaves_what_else_is_there(run: Path) -> None:
    split(run)
    (run / "servers" / "slow" / "notes.txt").write_text("mine")
    make_run_directory(run, "x", force=True, numbered=False)
    assert [path.name for path in run.rglob("*") if path.is_file()] == ["notes.txt"]
