"""The configuration score: what counts, what does not, and that it never rises with a disease."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ward import names, patient

from flash_doctor.diagnose import diagnose
from flash_doctor.diagnose.registry import Check
from flash_doctor.facts import Facts
from flash_doctor.model import Family, Score, Severity, Unchecked
from flash_doctor.rules.engine import Found, Result, tell
from flash_doctor.rules.score import LEFT, WEIGHTS, score as score_of

if TYPE_CHECKING:
    from collections.abc import Iterable

FACTS = Facts()


def result(family: Family, *severities: Severity, applies: bool = True, unchecked: bool = False) -> Result[Check]:
    check = Check(code="X1", family=family, function=lambda: ())
    told = tuple(tell("X1", Found(severity=one, subject="x", summary="x", evidence=("x",))) for one in severities)
    why = Unchecked(code="X1", why="no answer") if unchecked else None
    return Result(rule=check, applies=applies, told=told, unchecked=why)


def score(results: Iterable[Result[Check]]) -> Score:
    return score_of(results, lambda check: (check.family, WEIGHTS[check.family][0]))


def test_every_family_and_severity_has_its_place_and_reason() -> None:
    assert WEIGHTS.keys() == set(Family)
    assert LEFT.keys() == set(Severity)
    assert sum(points for points, _ in WEIGHTS.values()) == 100
    assert all(reason for _, reason in WEIGHTS.values())


def test_nothing_checked_has_no_value() -> None:
    assert score([]) == Score(value=None, checked=0, applicable=0)
    assert score([result(Family.GPU, unchecked=True)]) == Score(value=None, checked=0, applicable=1)


def test_a_family_loses_once_by_its_worst_finding() -> None:
    driver, torch = WEIGHTS[Family.DRIVER][0], WEIGHTS[Family.TORCH][0]
    sick = [result(Family.TORCH, Severity.ERROR, Severity.ERROR), result(Family.TORCH, Severity.WARNING)]
    assert score([result(Family.DRIVER), *sick]).value == round(100 * driver / (driver + torch))
    assert score([result(Family.DRIVER), result(Family.TORCH, Severity.INFO)]).value == 100


def test_what_is_unchecked_or_does_not_apply_neither_gains_nor_loses() -> None:
    made = [result(Family.DRIVER, Severity.WARNING)]
    alone = score(made)
    more = score([*made, result(Family.TORCH, unchecked=True), result(Family.GPU, applies=False)])
    assert alone.value == more.value == 50
    assert (more.checked, more.applicable) == (1, 2)


@pytest.mark.parametrize("name", names())
def test_only_errors_and_warnings_cost_points(name: str) -> None:
    recorded = patient(name)
    report = diagnose(recorded.target, recorded.environment, FACTS)
    costly = any(finding.severity is not Severity.INFO for finding in report.findings)
    assert report.score.value is not None
    assert (report.score.value < 100) == costly
