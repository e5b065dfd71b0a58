"""What a Build step fetches: its source distribution, and what its setup.py imports; asked of the package index."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flash_doctor.model.plan import Build
from flash_doctor.resolve.lookup import Question
from flash_doctor.treat.build import workshop_of
from flash_doctor.treat.needs import settle_needs

if TYPE_CHECKING:
    from flash_doctor.model.plan import Plan
    from flash_doctor.treat.patient import Patient
    from flash_doctor.treat.practice import Practice


def settle_builds(plan: Plan, patient: Patient, practice: Practice) -> Plan:
    """The plan with address and hash of every source distribution, and of what compiling it needs.

    Raises:
        NoPlanFound: the index has no such source distribution, or nobody may be asked.
    """
    steps = (_settled(step, patient, practice) if isinstance(step, Build) else step for step in plan.steps)
    return replace(plan, steps=tuple(steps))


def _settled(step: Build, patient: Patient, practice: Practice) -> Build:
    """What was compiled before needs nothing more."""
    step = step if step.url else _with_source(step, practice)
    built = step.sha256 and workshop_of(step, step.sha256, patient, practice).kept()
    return step if built or step.needs else replace(step, needs=settle_needs(step, patient, practice))


def _with_source(step: Build, practice: Practice) -> Build:
    question = Question(
        requirements=(step.requirement,),
        constraints=(),
        python=None,
        machine=None,
        glibc=None,
        indexes=(),
        sources=True,
    )
    missing = f"the plan does not say where the source of {step.requirement} is"
    (found,) = practice.asking(missing).answer(question)
    return replace(step, url=found.url, sha256=found.sha256, size=found.size)
