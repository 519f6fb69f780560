"""The study's servers with known limits, judged once each."""

from functools import cache

from worlds import CHAT

from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.judgement import Judgement
from probe_ext.verdict.values.ruling_types import Ruling
from scripts.study.diagnosis import diagnoses
from scripts.study.diagnosis.diagnoses import blind
from scripts.study.diagnosis.regimes import REGIMES

SEED = 7


@cache
def evidence_of(name: str) -> Evidence:
    return diagnoses.evidence_of(REGIMES[name], SEED)


@cache
def judged(name: str, *, seen: bool = True) -> Judgement:
    evidence = evidence_of(name)
    return judge(evidence if seen else blind(evidence), CHAT)


def ruling(judgement: Judgement, rule: str) -> Ruling:
    return next(one for one in judgement.diagnosis.rules if one.rule == rule)
