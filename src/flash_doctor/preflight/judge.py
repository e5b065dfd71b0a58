"""`preflight`: every rule applied to one Scene. Pure: reading what the rules judge is the work of `gather`.

A rule is added by writing an `@rule` function in any module of `rules/`, and its words in rules.toml.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_doctor.model import Absent, Finding, Score, Severity, Unchecked
from flash_doctor.preflight.config import Dialect, Run
from flash_doctor.preflight.inputs import Files, Inputs
from flash_doctor.preflight.registry import RULES, Found, finding
from flash_doctor.preflight.rules import load_rules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flash_doctor.facts.preflight import PreflightFacts
    from flash_doctor.preflight.document import Malformed
    from flash_doctor.preflight.inputs import Adapter
    from flash_doctor.preflight.registry import Answer

SYNTAX = "PF-yaml-syntax"
_SEVERITIES = tuple(Severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightJudgement:
    """What preflight says, apart from any environment: findings by severity, and what could not be checked."""

    findings: tuple[Finding, ...]
    unchecked: tuple[Unchecked, ...]
    score: Score


def preflight(scene: Inputs, facts: PreflightFacts, *, only: frozenset[str] = frozenset()) -> PreflightJudgement:
    """Apply every rule for the run's framework, or those whose ids are named in `only`."""
    load_rules()
    return _judge(each.apply(scene, facts) for each in RULES.values() if not only or each.code in only)


def _judge(answers: Iterable[Answer]) -> PreflightJudgement:
    made = list(answers)
    findings = [each for answer in made for each in answer.findings]
    unchecked = [answer.unchecked for answer in made if answer.unchecked]
    applicable = sum(answer.applies for answer in made) + 1  # the syntax was checked, too
    sound = applicable - len(unchecked)
    faulty = {each.code for each in findings if each.severity is not Severity.INFO}
    return PreflightJudgement(
        findings=tuple(sorted(findings, key=_order)),
        unchecked=tuple(sorted(unchecked, key=lambda each: each.code)),
        score=Score(value=round(100 * (sound - len(faulty)) / sound), checked=sound, applicable=applicable),
    )


def _order(each: Finding) -> tuple[int, str, str]:
    return (_SEVERITIES.index(each.severity), each.code, each.subject)


def of_adapter(trained: Adapter, facts: PreflightFacts) -> PreflightJudgement:
    """The judgement on a finished adapter alone: can it be merged without damage?"""
    here = Path(trained.where)
    run = Run(dialect=Dialect.HF, path=here, settings={}, raw={}, lines={})
    parts: dict[str, Any] = {each.name: Absent() for each in fields(Inputs)}
    parts |= {"run": run, "trained": trained, "files": Files(roots=(), listed={})}
    return preflight(Inputs(**parts), facts, only=frozenset({"PF-base-prequantised"}))


def malformed(fault: Malformed, facts: PreflightFacts) -> PreflightJudgement:
    """The judgement on a file that is no YAML: nothing else in it can be looked at."""
    run = Run(dialect=Dialect.AXOLOTL, path=fault.path, settings={}, raw={}, lines={})
    place = f"{fault.path.name}:{fault.line}: "
    tab = "tab" in fault.why or "\\t" in fault.why
    found = Found(
        key=fault.path.name,
        summary=f"line {fault.line} of {fault.path.name} is no YAML: {fault.why}",
        evidence=(place + fault.shown[0], " " * len(place) + fault.shown[1]),
        remedy=f"Correct line {fault.line}" + (": replace the tab by spaces." if tab else "."),
    )
    return PreflightJudgement(
        findings=(finding(SYNTAX, found, facts.rules[SYNTAX], run),),
        unchecked=(),
        score=Score(value=0, checked=1, applicable=1),
    )
