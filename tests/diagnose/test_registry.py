"""Every rule is proved on the ward: it fires on one recorded machine and, made on another, is quiet."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from ward import names, patient

from flash_doctor.diagnose import diagnose, load_rules
from flash_doctor.diagnose.registry import CHECKS, Check, all_checks
from flash_doctor.facts import Facts

if TYPE_CHECKING:
    from flash_doctor.model import Finding, Report

load_rules()
FACTS = Facts()
EVERY = list(all_checks())
HEALTHY = [name for name in names() if name.startswith("healthy")]


@cache
def report(name: str) -> Report:
    recorded = patient(name)
    return diagnose(recorded.target, recorded.environment, FACTS)


@pytest.mark.parametrize("name", names())
def test_a_patient_is_told_its_disease_and_nothing_else(name: str) -> None:
    assert tuple(sorted({finding.code for finding in report(name).findings})) == patient(name).fires


@pytest.mark.parametrize("check", EVERY, ids=lambda check: check.code)
def test_every_check_fires_somewhere_and_is_quiet_elsewhere(check: Check) -> None:
    fires = [name for name in names() if report(name).of(check.code)]
    results = (check.apply(patient(name).environment, facts=FACTS) for name in names() if name not in fires)
    assert fires, f"add a patient to tests/machines on which {check.code} fires"
    assert any(result.made for result in results), f"add a patient on which {check.code} is made and quiet"


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_machine_gives_no_finding(name: str) -> None:
    healthy = report(name)
    assert healthy.findings == ()
    assert healthy.unchecked == ()
    assert healthy.score.value == 100


@pytest.mark.parametrize("check", EVERY, ids=lambda check: check.code)
def test_every_check_explains_itself(check: Check) -> None:
    title, _, rest = check.documentation.partition("\n")
    assert title.endswith(".")
    paragraphs = rest.strip("\n").split("\n\n")
    assert any(paragraph.startswith("Check by hand: ") for paragraph in paragraphs)
    assert paragraphs[-1].startswith("What to do: ")
    assert not rest.splitlines()[0], "the title stands alone"


def findings() -> list[Finding]:
    return [finding for name in names() for finding in report(name).findings]


def test_every_finding_has_evidence_and_a_code_of_its_own_rule() -> None:
    for finding in findings():
        assert finding.code in CHECKS
        assert finding.evidence
        assert all(line.strip() for line in finding.evidence)
        assert "\n" not in finding.summary
        assert len(finding.summary) <= 160, finding.summary


def test_remedies_are_not_hints_at_nothing() -> None:
    for finding in findings():
        if finding.remedy:
            assert finding.remedy.text
            assert all(command.strip() == command != "" for command in finding.remedy.commands)


def test_an_unknown_target_leaves_its_rules_unchecked() -> None:
    silent = report("target-does-not-answer")
    assert silent.findings == ()
    assert {unchecked.code for unchecked in silent.unchecked} >= {"P402", "T502", "F602", "C710", "L901"}
    assert all("did not answer" in unchecked.why for unchecked in silent.unchecked)
    assert silent.score.checked < silent.score.applicable
