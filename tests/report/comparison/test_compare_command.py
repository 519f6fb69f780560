"""`probe compare` on files: what it writes, and what it refuses."""

import json
import shutil
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probe_ext.compare.comparison_sentence import comparison_sentence
from probe_ext.compare.questions import KINDS
from probe_ext.compare.set_up_aspects import NAMES, PLURAL, WAIVABLE
from probe_ext.compare.values import Row
from probe_ext.exit_codes import ExitCode
from probe_ext.report import compare_command
from probe_ext.report.comparison.comparison_schema import comparison_schema
from probe_ext.report.comparison.comparison_texts import short_names
from probe_ext.report.comparison.shown_rows import (
    QUANTITIES,
    TOO_WIDE,
    change,
    interval,
    notes,
    shown_rows,
    why_no_verdict,
)
from probe_ext.report.inputs.compared_runs import distinct_names
from tests.test_docs import DOCS, names, section, tables

EXAMPLES = Path(__file__).parents[3] / "reports" / "examples"
UPDATE = "python -m probe_ext.report.comparison.comparison_schema > docs/compare.schema.json"


def given(*arguments: str) -> Namespace:
    parser = ArgumentParser()
    compare_command.add_arguments(parser)
    return parser.parse_args(arguments)


def compared(*arguments: str) -> int:
    return compare_command.main(given(*arguments))


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The committed llama.cpp run, twice."""
    folder = tmp_path_factory.mktemp("runs")
    return Path(shutil.copytree(EXAMPLES / "llamacpp", folder / "a")), Path(
        shutil.copytree(EXAMPLES / "llamacpp", folder / "b")
    )


@pytest.fixture(scope="module")
def written(two_runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "comparison"
    assert compared(*map(str, two_runs), "--out", str(out), "--price-per-hour", "1,2") == ExitCode.OK
    return out


def test_writes_page_document_and_summary(written: Path) -> None:
    assert {file.name for file in written.iterdir()} == {"compare.html", "compare.json", "summary.md"}


def test_a_run_is_equal_to_itself(written: Path) -> None:
    content = json.loads((written / "compare.json").read_text(encoding="utf-8"))
    assert not content["meant"]
    assert not content["must_be_equal"]
    assert {row["outcome"] for row in content["rows"] if not row["quantity"].startswith("cost")} == {"cannot_tell"}


def test_page_summary_and_document_say_the_same(written: Path) -> None:
    sentence = json.loads((written / "compare.json").read_text(encoding="utf-8"))["sentence"]
    page, summary = ((written / name).read_text(encoding="utf-8") for name in ("compare.html", "summary.md"))
    assert sentence.replace("'", "&#39;") in page
    assert sentence.split(":")[0] in summary.replace("\\", "")


def test_the_page_requests_nothing(written: Path) -> None:
    page = (written / "compare.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    for mark in ("http://", "https://", "<script", "url("):
        assert mark not in page.replace("http://127.0.0.1", "").replace("url(#", ""), mark


def test_names_from_servers_are_escaped(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = Path(shutil.copytree(two_runs[1], tmp_path / "other"))
    manifest = json.loads((other / "run.json").read_text(encoding="utf-8"))
    manifest["target"]["model"] = "<img src=x>|`m`"
    (other / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    out = tmp_path / "out"
    assert compared(str(two_runs[0]), str(other), "--out", str(out)) == ExitCode.OK
    assert "<img" not in (out / "compare.html").read_text(encoding="utf-8")
    summary = (out / "summary.md").read_text(encoding="utf-8")
    assert "<img" not in summary.replace("\\<", "")


def test_different_loads_name_no_winner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compared(str(EXAMPLES / "vllm"), str(EXAMPLES / "llamacpp"), "--out", str(tmp_path / "o")) == ExitCode.OK
    out = capsys.readouterr().out
    assert "No winner is named: workload differs; levels differ." in out
    assert "must not differ" in out


def test_a_capacity_json_is_enough_for_what_it_holds(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    left = tmp_path / "kept.json"
    shutil.copy(EXAMPLES / "llamacpp" / "capacity.json", left)
    assert compared(f"old={left}", str(two_runs[0]), "--out", str(tmp_path / "o")) == ExitCode.OK
    content = json.loads((tmp_path / "o" / "compare.json").read_text(encoding="utf-8"))
    assert {row["quantity"] for row in content["rows"]} == {"capacity", "served"}
    assert "output lengths" in content["not_checked"]


def test_an_invalid_run_ends_with_its_own_code(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    bad = Path(shutil.copytree(two_runs[1], tmp_path / "bad"))
    manifest = json.loads((bad / "run.json").read_text(encoding="utf-8"))
    manifest["workers"][0]["started"] += 50  # replies of which no row is left
    (bad / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert compared(str(two_runs[0]), str(bad), "--out", str(tmp_path / "o")) == ExitCode.INVALID
    content = json.loads((tmp_path / "o" / "compare.json").read_text(encoding="utf-8"))
    assert "validity" in {one["aspect"] for one in content["must_be_equal"]}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("{a}",), "must be 2 to 10 set-ups"),
        (("{a}", "{a}"), "is given twice"),
        (("{a}", "{tmp}/nothing"), "neither a run directory nor a capacity.json"),
        (("{broken}", "{broken}"), "not valid JSON"),
        (("{tmp}/nothing", "{tmp}/nothing"), "neither a run directory nor a capacity.json"),
        (("x={a}", "x={b}"), "the same name is given twice"),
        (("{a}", "={b}"), "is not a set-up such as"),
        (("{a}", "{b}", "--price-per-hour", "1,2,3"), "3 given for 2 set-ups"),
        (("{a}", "{b}", "--slo", "no-such-profile"), "no-such-profile"),
        (("{a}", "{b}", "--out", "{a}"), "contains a run"),
        (("{a}", "{json}", "--slo", "chat"), "can't be judged by another profile"),
        (("{a}", "two={json},{json2}"), "only from their run directories"),
        (("{a}", "{broken}"), "not valid JSON"),
        (("{a}", "{foreign}"), "not a capacity.json of schema"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: tuple[str, ...],
    why: str,
    two_runs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"a": two_runs[0], "b": two_runs[1], "tmp": tmp_path}
    for name in ("json", "json2", "broken", "foreign"):
        places[name] = tmp_path / f"{name}.json"
        shutil.copy(EXAMPLES / "llamacpp" / "capacity.json", places[name])
    places["broken"].write_text("{", encoding="utf-8")
    places["foreign"].write_text('{"schema": 99}', encoding="utf-8")
    assert compared(*(part.format(**places) for part in arguments)) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("option", "value"), [("--meant", "validity"), ("--price-per-hour", "free")])
def test_wrong_values_are_refused(option: str, value: str) -> None:
    with pytest.raises(SystemExit):
        given("a", "b", option, value)


def test_set_ups_are_named_after_their_directories() -> None:
    paths = [[Path("x/run")], [Path("y/run")], [Path("z")]]
    assert distinct_names(paths, [None, None, "third"]) == ["x/run", "y/run", "third"]
    assert distinct_names([[Path("x/fp8")], [Path("y/awq/capacity.json")]], [None, None]) == ["fp8", "awq"]


# --- documentation -------------------------------------------------------------------------------------------------

SCHEMA = comparison_schema()


def _keys(of: str) -> list[str]:
    return list(SCHEMA["$defs"][of]["properties"])


def test_the_published_schema_is_that_of_the_code() -> None:
    published = json.loads((DOCS / "compare.schema.json").read_text(encoding="utf-8"))
    assert published == SCHEMA, f"run {UPDATE}"


def test_keys_of_compare_json_are_documented() -> None:
    top, set_up, aspect, row = tables(section("docs/compare/json.md", "compare.json"))
    assert names(top) == list(SCHEMA["properties"])
    assert names(set_up, 0) == _keys("SetUpResult")
    assert names(aspect, 0) == _keys("Aspects")
    assert names(row, 0) == _keys("Row")


def test_options_quantities_and_aspects_are_documented() -> None:
    options: Any = [action for action in _actions() if action.option_strings]
    assert names(tables(section("docs/compare.md", "Comparing set-ups"))[0], 0) == [
        o.option_strings[0] for o in options
    ]
    assert names(tables(section("docs/compare.md", "What differs"))[0], 0) == list(WAIVABLE)
    assert names(tables(section("docs/compare.md", "How it is decided"))[0], 0) == list(KINDS)
    assert list(QUANTITIES) == list(KINDS)
    (aspect,) = (row for table in tables(section("docs/compare/json.md", "compare.json")) for row in table
                 if row[0] == "`aspect`")  # fmt: skip
    assert set(names([aspect], 1)) == set(NAMES)


def _actions() -> list[Any]:
    parser = ArgumentParser(add_help=False)
    compare_command.add_arguments(parser)
    return parser._actions


@pytest.fixture(scope="module")
def with_a_level_more(two_runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The comparison of a run with one whose plan has another level."""
    other = Path(shutil.copytree(two_runs[0], tmp_path_factory.mktemp("other") / "more"))
    manifest = json.loads((other / "run.json").read_text(encoding="utf-8"))
    manifest["plan"] = {**manifest["plan"], "search": None, "levels": [1, 2, 512]}
    (other / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    out = tmp_path_factory.mktemp("out") / "refused"
    compared(str(two_runs[0]), str(other), "--out", str(out))
    return out


def test_the_verb_fits_the_name_of_what_differs() -> None:
    for aspect, name in NAMES.items():
        verb = "differ" if aspect in PLURAL else "differs"
        assert f"because {name} {verb} between" in why_no_verdict({"must_be_equal": [{"aspect": aspect, "name": name}]})
        assert (aspect in PLURAL) == name.endswith("s")


def test_a_refused_comparison_says_why_no_figure_has_a_verdict(with_a_level_more: Path) -> None:
    content = json.loads((with_a_level_more / "compare.json").read_text(encoding="utf-8"))
    assert {one["aspect"] for one in content["must_be_equal"]} == {"levels"}
    why = why_no_verdict(content)
    assert why.endswith("because levels differ between the set-ups. If that is meant, compare with --meant levels.")
    html = (with_a_level_more / "compare.html").read_text(encoding="utf-8")
    assert why in html
    assert "beyond doubt" not in html
    assert "Nothing besides that, as far as the files say" in html
    assert {row.why for row in shown_rows(content)} == {"not comparable"}


@pytest.mark.parametrize(
    ("low", "high", "scale", "text"),
    [(0.07, 0.8, "ratio", "0.07 to 0.80 ×"), (0.62, None, "ratio", "at least 0.62 ×"),
     (None, 1.9, "ratio", "at most 1.90 ×"), (0.05, 22.51, "ratio", TOO_WIDE), (0.02, None, "ratio", TOO_WIDE),
     (0.05, 1.9, "ratio", "0.05 to 1.90 ×"), (-0.9, 0.9, "difference", "-90 to +90 points"),
     (None, 0.3, "difference", "at most +30 points")],
)  # fmt: skip
def test_limits_are_words_where_one_end_is_open(low: float | None, high: float | None, scale: str, text: str) -> None:
    assert interval({"low": low, "high": high, "scale": scale}) == text


def test_a_change_that_may_be_half_or_twice_is_no_figure() -> None:
    row = {"change": 1.0, "reason": "gap_between_levels", "scale": "ratio"}
    assert change({**row, "low": 0.05, "high": 22.51}) == "–"
    assert change({**row, "low": 0.9, "high": 1.2}) == "1.00 ×"
    capacity = Row("capacity", None, "b", 4, 4, "ratio", 1.0, 0.05, 22.51, "cannot_tell", "gap_between_levels", None)
    assert "0.05" not in comparison_sentence(["a", "b"], [capacity], [])
    assert "(95 %: 0.90 to 1.20 times)" in comparison_sentence(["a", "b"], [replace(capacity, low=0.9, high=1.2)], [])


@pytest.mark.parametrize(
    ("names", "heads"),
    [
        (["before", "after"], ["before", "after"]),
        (["20261130T174231Z-capacity", "20261130T174909Z-capacity"], ["20261130T174231Z…", "20261130T174909Z…"]),
        (["20261130T174231Z-capacity", "20261130T174231Z-chat"], ["…74231Z-capacity", "…74231Z-chat"]),
        (["http://127.0.0.1:8000", "http://127.0.0.1:8001"], ["….0.1:8000", "….0.1:8001"]),
        (["a" * 20 + "b" * 30, "a" * 20 + "c" + "b" * 29, "a" * 20 + "b" * 29 + "c"], None),
    ],
)
def test_names_of_runs_are_cut_at_one_place_where_they_differ(names: list[str], heads: list[str] | None) -> None:
    assert short_names(names) == (heads or names)


def test_a_part_below_the_whole_is_explained(written: Path) -> None:
    content = json.loads((written / "compare.json").read_text(encoding="utf-8"))
    at = next(row for row in content["rows"] if row["quantity"] == "served")
    part = {**at, "quantity": "typing", "value": at["value"] - 0.01}
    assert any("different replies" in note for note in notes({**content, "rows": [at, part]}))
    assert not any("different replies" in note for note in notes({**content, "rows": [at]}))
