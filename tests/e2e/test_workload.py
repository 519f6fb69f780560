"""A workload on two workers: the stated kinds in the stated numbers, and exactly the requests that the seed says."""

from collections import defaultdict
from pathlib import Path

from probe_ext.workload.draws import Draws
from probe_ext.workload.workload_file import read_workload
from tests.e2e.conftest import ROOT, finished, locust, start
from tests.e2e.test_endings import check_accounts

SEED, USERS = 5, 5
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
  - {name: slow, share: 0.4, prompts: {tokens: 200}, system_prompt: {tokens: 50}, output_tokens: 20}
"""


def test_workers_send_the_requests_of_the_seed(sim: str, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.yaml", tmp_path / "run"
    file.write_text(TEXT)
    options = ["--workload", str(file), "--processes", "2", "-u", str(USERS), "-r", str(USERS), "-t", "6s"]
    line = locust(
        sim, out, *options, "--prompt-seed", str(SEED), "--ignore-eos", file=ROOT / "locustfiles" / "workload.py"
    )
    run = finished(start(line), out)
    assert run.code == 0, run.said
    check_accounts(run, nodes=2)
    by_user: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in sorted(run.rows(), key=lambda row: float(row["due"])):
        by_user[row["scenario"], row["user"]].append(row)
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
    assert [(kind["name"], kind["share"]) for kind in about["kinds"]] == [("fast", 0.6), ("slow", 0.4)]
    assert about["kinds"][0]["think_time"]["mean"] == 0.1
