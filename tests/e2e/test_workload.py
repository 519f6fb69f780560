"""A workload on two workers: the stated kinds in the stated numbers, and exactly the requests that the seed says."""

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from probe_ext.workload.draws import Draws
from probe_ext.workload.workload_file import read_workload
from tests.e2e.conftest import ROOT, Run, finished, locust, simulated, start
from tests.e2e.test_endings import check_accounts

SEED, USERS, PROMPTS = 5, 7, 40
FORMS = {
    "constant": "24",
    "uniform": "{uniform: [5, 40]}",
    "normal": "{normal: {mean: 20, sd: 8, min: 4}}",
    "lognormal": "{lognormal: {median: 12, p95: 40, max: 60}}",
    "exponential": "{exponential: {mean: 12, max: 60}}",
    "empirical": "{empirical: {values: [5, 5, 10, 30]}}",
}
TEXT = """
question: Are these the requests that were meant?
kinds:
  - name: fast
    share: 0.6
    prompts: {tokens: {uniform: [40, 120]}}
    turns: {uniform: [1, 3]}
    think_time: {exponential: {mean: 100ms}}
    output_tokens: {uniform: [5, 12]}
    stream: 0.5
  - {name: own, users: 2, prompts: {file: own.txt}, output_tokens: 5}
  - {name: slow, share: 0.4, prompts: {tokens: 200}, system_prompt: {tokens: 50}, output_tokens: 20}
"""


def test_workers_send_the_requests_of_the_seed(sim: str, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.yaml", tmp_path / "run"
    file.write_text(TEXT)
    (tmp_path / "own.txt").write_text("\n".join("word " * (5 + 3 * number) for number in range(PROMPTS)))
    options = ["--workload", str(file), "--processes", "2", "-u", str(USERS), "-r", str(USERS), "-t", "6s"]
    line = locust(
        sim, out, *options, "--prompt-seed", str(SEED), "--ignore-eos", file=ROOT / "locustfiles" / "workload.py"
    )
    run = finished(start(line), out)
    assert run.code == 0, run.said
    check_accounts(run, nodes=2)
    by_user: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    own: dict[str, list[str]] = defaultdict(list)
    for row in sorted(run.rows(), key=lambda row: float(row["due"])):
        if row["scenario"] == "own":
            own[row["worker"]].append(row["tokens_in"])
        else:
            by_user[row["scenario"], row["user"]].append(row)
    check_own_prompts(list(own.values()))
    assert sorted(kind for kind, _ in by_user) == ["fast", "fast", "fast", "slow", "slow"]
    assert len({row["worker"] for row in run.rows()}) == 2
    workload = read_workload(str(file))
    expected = {
        kind.name: {
            user: [
                (draw.output_tokens, draw.streamed is not False)
                for draw in map(Draws(kind, SEED, f"0.{user}").request, range(200))
            ]
            for user in range(USERS)
        }
        for kind in workload.kinds
    }
    found = defaultdict(set)
    for (kind, _), rows in by_user.items():
        whole = [row for row in rows if row["outcome"] == "complete"]
        sent = [(int(row["tokens_out"]), row["streamed"] == "1") for row in whole]
        users = [user for user, meant in expected[kind].items() if meant[: len(sent)] == sent]
        assert users, "the requests are not those of any user of this kind"
        found[kind].update(users[:1] if kind == "fast" else users)
        assert all(
            abs(int(row["tokens_in"]) - int(row["tokens_meant"])) <= 10 for row in whole if row["kind"] == "chat"
        )
    assert found["fast"] == {0, 1, 2}
    about = run.manifest["workload"]
    assert [(kind["name"], kind["share"]) for kind in about["kinds"]] == [("fast", 0.6), ("own", None), ("slow", 0.4)]
    assert about["kinds"][1]["prompts"]["prompts"] == PROMPTS
    assert about["kinds"][0]["think_time"]["mean"] == 0.1


@pytest.fixture
def fast() -> Iterator[str]:
    """A simulated server, twenty times as fast as the demo's GPU."""
    with simulated("--speed", "20") as url:
        yield url


def sent_by_kind(run: Run) -> dict[str, list[list[int]]]:
    """Return the reply lengths that each user of each kind asked for, in order."""
    users: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in sorted(run.rows(), key=lambda row: float(row["due"])):
        if row["outcome"] == "complete":
            users[row["scenario"], row["user"]].append(int(row["tokens_out"]))
    by_kind: dict[str, list[list[int]]] = defaultdict(list)
    for (kind, _), lengths in users.items():
        by_kind[kind].append(lengths)
    return by_kind


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 4])
def test_every_distribution_on_one_worker_and_on_four(workers: int, fast: str, tmp_path: Path) -> None:
    """Exactly the draws of the seed, two users a kind; and by Kolmogorov-Smirnov, those of the stated distribution."""
    file, out = tmp_path / "forms.yaml", tmp_path / "run"
    kinds = [f"  - {{name: {name}, prompts: {{tokens: 40}}, output_tokens: {form}}}" for name, form in FORMS.items()]
    file.write_text("\n".join(["kinds:", *kinds]))
    options = ["--workload", str(file), "--processes", str(workers), "-u", "12", "-r", "12", "-t", "25s"]
    line = locust(
        fast, out, *options, "--prompt-seed", str(SEED), "--ignore-eos", file=ROOT / "locustfiles" / "workload.py"
    )
    run = finished(start(line), out)
    assert run.code == 0, run.said
    check_accounts(run, nodes=workers)
    found = sent_by_kind(run)
    for kind in read_workload(str(file)).kinds:
        draws = [Draws(kind, SEED, f"0.{user}") for user in (0, 1)]
        users = found[kind.name]
        meant = [[draw.request(number).output_tokens for number in range(len(users[0]))] for draw in draws]
        if users[0][:10] != meant[0][:10]:
            users.reverse()
        assert len(users) == 2
        for user, draw in zip(users, draws, strict=True):
            assert user == [draw.request(number).output_tokens for number in range(len(user))]
        lengths, form = sorted(users[0] + users[1]), kind.output_tokens
        assert form is not None
        n = len(lengths)
        assert n > 60
        # Lengths are rounded: up to half a token above, a draw counts as this length.
        distance = max(
            max(
                sum(other <= length for other in lengths) / n - form.cdf(length + 0.5),
                form.cdf(length - 0.5) - sum(other < length for other in lengths) / n,
            )
            for length in set(lengths)
        )
        assert distance < 1.95 / math.sqrt(n), kind.name


def check_own_prompts(lengths: list[list[str]]) -> None:
    """Every prompt of the file has a length of its own: each worker takes its own half, none twice in a round."""
    assert len(lengths) == 2
    first, second = ({length for length in sent[: PROMPTS // 2] if length} for sent in lengths)
    assert not first & second
    for sent, distinct in zip(lengths, (first, second), strict=True):
        assert len(distinct) == len([length for length in sent[: PROMPTS // 2] if length]) >= 3


OPEN = """
arrivals: {gamma: {cv: 2}}
kinds:
  - name: short
    share: 0.7
    prompts: {tokens: {uniform: [40, 90]}}
    output_tokens: {uniform: [2, 12]}
    stream: 0.5
  - {name: own, share: 0.3, prompts: {file: own.txt}, output_tokens: {lognormal: {mean: 6, sd: 3}}}
"""
COMPARED = 400


@pytest.mark.long
def test_an_open_stream_asks_the_same_on_one_worker_and_on_four(fast: str, tmp_path: Path) -> None:
    file = tmp_path / "open.yaml"
    file.write_text(OPEN)
    (tmp_path / "own.txt").write_text("\n".join("word " * (5 + number) for number in range(1000)))
    asked = {}
    for workers in (1, 4):
        out = tmp_path / f"run{workers}"
        options = ["--workload", str(file), "--processes", str(workers), "--rate", "40", "--hold", "12s"]
        line = locust(
            fast, out, *options, "--settle", "1s", "--prompt-seed", str(SEED), "--ignore-eos",
            file=ROOT / "locustfiles" / "workload.py",
        )  # fmt: skip
        run = finished(start(line), out)
        assert run.code == 0, run.said
        check_accounts(run, nodes=workers)
        rows = sorted(run.rows(), key=lambda row: float(row["due"]))[:COMPARED]
        assert len(rows) == COMPARED
        assert {row["outcome"] for row in rows} == {"complete"}
        assert len({row["worker"] for row in rows}) == workers
        asked[workers] = sorted((row["scenario"], row["tokens_in"], row["tokens_out"], row["streamed"]) for row in rows)
    assert asked[1] == asked[4]
    own = [int(tokens) for kind, tokens, *_ in asked[1] if kind == "own"]
    assert len(set(own)) == len(own) > 80, "no prompt is sent twice before all were"
