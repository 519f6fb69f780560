"""Damaged, nested, huge, linked and special files: one clear line, never a traceback or a reader that hangs."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from probe_ext.cli import main
from probe_ext.report.inputs import frames
from probe_ext.run import manifest

EVIL = "gpt\x1b[31m-\x07\u202eexe\x9b"
DEEP = "[" * 100_000 + "]" * 100_000


def put(name: str, text: str) -> Callable[[Path], None]:
    return lambda run: (run / name).write_text(text) and None


def fifo(name: str) -> Callable[[Path], None]:
    def make(run: Path) -> None:
        (run / name).unlink()
        os.mkfifo(run / name)

    return make


def device(name: str) -> Callable[[Path], None]:
    def make(run: Path) -> None:
        (run / name).unlink()
        (run / name).symlink_to("/dev/zero")

    return make


def folder(name: str) -> Callable[[Path], None]:
    def make(run: Path) -> None:
        (run / name).unlink()
        (run / name).mkdir()

    return make


@pytest.mark.parametrize(
    "damage",
    [put("run.json", DEEP), put("run.json", '{"schema": 2, "workers": ' + DEEP + "}"), put("run.json", "\x00" * 1000)]
    + [put("run.json", f'{{"schema": 2, "workers": [{{"rows": 1{"0" * 400}}}]}}')]
    + [make("run.json") for make in (fifo, device, folder)],
    ids=["nested", "nested inside", "zeros", "huge number", "fifo", "device", "folder"],
)
def test_an_unusable_manifest_is_one_line(
    run: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    damage(run)
    assert main(["report", str(run)]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert str(run / "run.json") in said.err
    assert not said.out


@pytest.mark.parametrize("typing", [{"a": "x\x1b[31m"}, "fast", {"served": "\n", "strained": 1}])
def test_an_invalid_profile_in_a_run_is_one_line(run: Path, typing: object, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads((run / "run.json").read_text())
    content["profile"] = {"name": "mine", "typing": typing}
    (run / "run.json").write_text(json.dumps(content))
    assert main(["report", str(run)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "run.json: profile.typing" in said
    assert typing != "fast" or main(["report", str(run), "--slo", "chat"]) in {0, 3}


def test_numbers_that_are_not_finite_count_as_missing(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    content["workers"][0] |= {"left_at": "-Infinity", "cpu_seconds": "1e999"}
    content["options"]["drain"] = "Infinity"
    content["server"] = [{"kind": "vllm", "max_model_len": "NaN"}]
    (run / "run.json").write_text(re.sub(r'"(-?Infinity|NaN|1e999)"', r"\1", json.dumps(content)))
    found = manifest.read(run)
    assert (found["workers"][0]["left_at"], found["workers"][0]["cpu_seconds"]) == (None, None)
    assert (found["options"]["drain"], found["server"][0]["max_model_len"]) == (None, None)
    assert main(["report", str(run)]) in {0, 3}


TABLES = ("requests.csv", "gaps.csv", "users.csv", "server.csv", "sketches.jsonl", "locust_stats.csv")


@pytest.mark.parametrize("make", [fifo, device, folder])
def test_special_files_are_reported_and_not_read(run: Path, make: Callable[[str], Callable[[Path], None]]) -> None:
    for name in (*TABLES, "locust_stats_history.csv"):
        make(name)(run)
    assert {line.partition(":")[0] for line in frames.load(run).damage} == set(TABLES)


def test_absurd_sketches_are_reported(run: Path) -> None:
    absurd = ['{"metric": "gap", "start": 1e300, "seconds": 5, "count": 1}', DEEP, "1", "null"]
    lines = (run / "sketches.jsonl").read_text().splitlines()
    (run / "sketches.jsonl").write_text("\n".join([*absurd, *lines]) + "\n")
    assert any("sketches.jsonl: lines 1, 2, 3 and 1 more: not sketches" in line for line in frames.load(run).damage)
    assert main(["report", str(run)]) in {0, 3}


@pytest.mark.untraced
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_field_of_megabytes_is_a_bad_line(run: Path, quote: str) -> None:
    path = run / "requests.csv"
    header, first, *rest = path.read_text().splitlines()
    huge = first.replace("complete", f"{quote}{'x' * 6_000_000}{quote}", 1)
    path.write_text("\n".join([header, huge, first.replace("w1:", "w1:9", 1), *rest]) + "\n")
    assert len(frames.load(run).replies["end"]) >= len(rest)
    assert quote or main(["report", str(run)]) in {0, 3}


def test_holes_of_a_terabyte_are_not_read(run: Path) -> None:
    for name in ("sketches.jsonl", "locust_stats.csv", "locust_stats_history.csv"):
        (run / name).touch()
        os.truncate(run / name, 2**40)
    path = run / "requests.csv"
    rows, lines = len(frames.load(run).replies["reply_id"]), path.read_text().count("\n")
    os.truncate(path, 2**40)
    evidence = frames.load(run)
    assert len(evidence.replies["reply_id"]) == rows
    assert f"requests.csv: line {lines + 1}: cut off (no line end), ignored" in evidence.damage
    assert {line.partition(":")[0] for line in evidence.damage} >= {"sketches.jsonl", "locust_stats.csv"}


def test_server_metrics_that_cannot_be_are_bad_lines(run: Path) -> None:
    absurd, rows = ("1e308", "-1", "-1e308"), (run / "server.csv").read_text().count("\n")
    with (run / "server.csv").open("a") as file:
        file.writelines(f"1.0,http://x/metrics,0,waiting,{value}\n" for value in absurd)
    (damage,) = frames.load(run).damage
    assert damage == f"server.csv: lines {rows + 1}, {rows + 2}, {rows + 3}: not valid rows of this table, ignored"
    assert main(["report", str(run)]) != 3


def test_negative_figures_of_a_gpu_are_bad_lines(run: Path) -> None:
    lines = [f"{t}.0,http://gpu,0,{name},-5" for t in range(1, 9) for name in ("gpu_power", "gpu_temperature")]
    (run / "gpu.csv").write_text("\n".join(["t,url,gpu,quantity,value", *lines]) + "\n")
    assert main(["report", str(run)]) == 0
    assert any("gpu.csv" in line and "not valid rows" in line for line in frames.load(run).damage)


@pytest.mark.parametrize("column", ["tokens_in", "tokens_out", "events", "choices"])
def test_negative_counts_are_bad_lines(run: Path, column: str) -> None:
    path = run / "requests.csv"
    header, *lines = path.read_text().splitlines()
    at = header.split(",").index(column)
    changed = [",".join(["-700" if n == at else field for n, field in enumerate(line.split(","))]) for line in lines]
    path.write_text("\n".join([header, *changed]) + "\n")
    assert any("requests.csv" in line and "not valid rows" in line for line in frames.load(run).damage)
    if column == "tokens_in":
        assert main(["report", str(run)]) == 3


ABSURD_RATES = [
    (column, value)
    for column in ("Timestamp", "Requests/s", "Failures/s")
    for value in ("inf", "-inf", "1e308", "-5", "1e300")
]


def add_rates(run: Path, rates: list[tuple[str, str]]) -> None:
    """Add lines to Locust's history, each with one changed value."""
    path = run / "locust_stats_history.csv"
    header, *lines = path.read_text().splitlines()
    for column, value in rates:
        row = next(line for line in lines if ",Aggregated," in line).split(",")
        row[header.split(",").index(column)] = value
        lines.append(",".join(row))
    path.write_text("\n".join([header, *lines]) + "\n")


def test_absurd_rates_in_locusts_history_are_reported(run: Path) -> None:
    add_rates(run, ABSURD_RATES)
    ignored = f"{len(ABSURD_RATES)} lines with an impossible time or rate, ignored"
    assert frames.load(run).damage == (f"locust_stats_history.csv: {ignored}",)
    assert main(["report", str(run)]) == 0


def test_a_count_beyond_all_in_locusts_statistics_is_reported(run: Path) -> None:
    path = run / "locust_stats.csv"
    header, *lines = path.read_text().splitlines()
    row = ["LLM" if name == "Type" else "9" * 25 if name.endswith("Count") else "x" for name in header.split(",")]
    path.write_text("\n".join([header, ",".join(row), *lines]) + "\n")
    assert frames.load(run).locust is None


@pytest.mark.parametrize("name", ["locust_stats.csv", "locust_stats_history.csv"])
def test_a_hundred_thousand_columns_in_locusts_tables_are_not_parsed(run: Path, name: str) -> None:
    path = run / name
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header + ",x" * 100_000, *lines]) + "\n")
    assert any(name in line and "the header is too long" in line for line in frames.load(run).damage)


def test_links_beside_the_outputs_are_replaced_and_not_followed(run: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    names = ("capacity.json", "capacity.html", "summary.md", "junit.xml")
    for name in names:
        for link in (run / name, run / f"{name}.new"):
            link.unlink(missing_ok=True)
            link.symlink_to(precious)
    assert main(["report", str(run)]) in {0, 3}
    assert precious.read_text() == "mine"
    assert not any((run / name).is_symlink() for name in names)


def test_control_characters_reach_neither_terminal_nor_summary_nor_page(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((run / "run.json").read_text())
    content["target"]["model"] = content["scenario"] = EVIL
    content["server"] = [
        {**(content["server"] or [{}])[0], "models": [EVIL], "version": EVIL, "kind": EVIL, "url": EVIL}
    ]
    for worker in content["workers"]:
        worker["host"] = EVIL
    content["findings"] = [{"check": EVIL, "state": "fail", "invalidates": False, "why": EVIL, "advice": EVIL}]
    (run / "run.json").write_text(json.dumps(content))
    text = (run / "requests.csv").read_text()
    (run / "requests.csv").write_text(text.replace(",complete,", f",complete,{EVIL}", 1).replace("chat", EVIL))
    main(["report", str(run)])
    said = capsys.readouterr()
    outputs = [(run / name).read_text() for name in ("summary.md", "capacity.html", "capacity.json", "junit.xml")]
    for text in (said.out, said.err, *outputs):
        assert not set(text) & {"\x1b", "\x07", "\u202e", "\x9b"}
        assert "\\u202e" not in text
        assert "\\u001b" not in text
    assert manifest.read(run)["target"]["model"] == "gpt [31m-  exe "
