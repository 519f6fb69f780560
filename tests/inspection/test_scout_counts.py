"""Whether the tokens that servers are ranked by are true."""

from typing import Any

import pytest

from probe_ext import cli
from probe_ext.inspection.scout.samples import Pair, Sample
from probe_ext.inspection.scout.token_check import CountedText, TokenCheck, check_tokens
from tests.in_process_sim import running_sim


def pair(usage: int, generated: float | None) -> Pair:
    sample = Sample(True, 64, usage, "word " * 32, "length", 1.0, 0.1, 0.9)
    return Pair(sample, sample, generated, 0.0)


def checked(*pairs: Pair, **text: Any) -> TokenCheck:
    return check_tokens(pairs, CountedText(**{"tokenizer": None, "bytes": 300, **text}) if text else None)


@pytest.mark.parametrize(
    ("usage", "generated", "factor"), [(64, 32, 0.5), (32, 32, 1.0), (32, 90, 1.0), (64, 1, 1 / 64)]
)
def test_the_engines_counter_decides(usage: int, generated: float, factor: float) -> None:
    found = checked(*[pair(usage, generated)] * 4)
    assert (found.factor, found.source) == (pytest.approx(factor), "counter")
    assert (found.evidence is None) == (factor == 1.0)


@pytest.mark.parametrize(("usage", "tokenizer", "factor"), [(64, 32, 0.5), (64, 60, 1.0), (32, 64, 2.0), (20, 24, 1.0)])
def test_without_a_counter_the_tokenizer_does(usage: int, tokenizer: int, factor: float) -> None:
    found = checked(usage=usage, tokenizer=tokenizer)
    assert (found.factor, found.source) == (pytest.approx(factor), "tokenizer")
    assert (found.evidence is None) == (factor == 1.0)


def test_no_text_has_more_tokens_than_bytes() -> None:
    found = checked(usage=64, bytes=5)
    assert (found.factor, found.source) == (5 / 64, "bytes")
    assert "13 tokens for each byte of the text" in (found.evidence or "")
    assert checked(usage=64, bytes=64) == checked(usage=4, bytes=0) == checked() == TokenCheck()


def test_a_server_is_not_ranked_by_tokens_that_it_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    with running_sim("wrong-usage", speed=2.0) as liar, running_sim(speed=3.0) as honest:
        cli.main(["scout", liar.url, honest.url])
    out = capsys.readouterr().out
    ranks = {line.split()[1]: line.split()[0] for line in out.splitlines() if line[:2] in {"1 ", "2 "}}
    assert ranks == {honest.url: "1", liar.url: "2"}
    assert f"{liar.url}: token counts: its usage says 2" in " ".join(out.split())
    assert f"{honest.url}: token counts" not in out
