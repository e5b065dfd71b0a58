"""Where a treatment's plan comes from: a goal that is resolved here, or a plan that was made before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from packaging.utils import canonicalize_name

from flash_doctor.command import Runner
from flash_doctor.errors import NoPlanFound
from flash_doctor.model import Goal, known
from flash_doctor.model.plan import Install, NoPlan, Plan
from flash_doctor.resolve import Wheels, load_wheels, resolve, settle
from flash_doctor.resolve.sources.index import UvLookup
from flash_doctor.resolve.sources.wheelhouse import read_wheelhouse
from flash_doctor.resolve.steps import unmet
from flash_doctor.resolve.wish import FLASH, read_goal
from flash_doctor.treat.judge import installed_faults
from flash_doctor.treat.options import find_uv
from flash_doctor.treat.shelf import settle_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_doctor.facts import Facts
    from flash_doctor.model.plan import Step
    from flash_doctor.treat.patient import Patient


class Prescription(Protocol):
    """What is to be reached, for a patient that has been examined."""

    def fulfilled(self, patient: Patient, facts: Facts) -> tuple[str, ...]:
        """Why there is nothing to do; empty when there is."""
        ...

    def plan(self, patient: Patient, facts: Facts) -> Plan:
        """The plan, every step with an address; raises NoPlanFound."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ForGoal:
    """Resolve a goal on this machine; with `wheelhouse` from that folder, and from elsewhere only if it does not do."""

    goal: Goal
    runner: Runner
    wheelhouse: Path | None = None
    offline: bool = False

    def fulfilled(self, patient: Patient, facts: Facts) -> tuple[str, ...]:
        """The wanted library is there in a wanted version, loads beside torch, and has code for the GPUs."""
        wish = read_goal(self.goal)
        torch = known(patient.environment.torch)
        if wish.torch is not None and not (torch and wish.torch.contains(torch.version, prereleases=True)):
            return ()
        if wish.flash is None:
            return (f"torch {torch.version} is there" if torch else "",)
        package = patient.packages.find(wish.flash)
        version = known(package.version) if package else None
        if package is None or version is None or not wish.specifier.contains(version, prereleases=True):
            return ()
        needs = tuple(line for line in package.requires if "extra" not in line)
        whole = not known_loss(package) and not unmet(package.name, needs, patient.packages)
        works = whole and not flash_faults(patient, wish.flash, facts)
        return (f"{package.name} {package.raw_version} is there, loads, and fits the GPUs",) if works else ()

    def plan(self, patient: Patient, facts: Facts) -> Plan:
        found = self._resolve(patient, facts)
        if isinstance(found, NoPlan):
            lines = [*found.because, *(f"{one.axis.value}: {one.why}" for one in found.rejected[:5])]
            lines += [f"possible: {'; '.join(one.change)}" for one in found.alternatives[:3]]
            message = f"there is no plan for {' and '.join(self.goal.wanted)}"
            raise NoPlanFound(message, evidence=lines, advice=found.command or "flash-doctor plan shows all of it")
        return self._settled(found, patient)

    def _resolve(self, patient: Patient, facts: Facts) -> Plan | NoPlan:
        known_wheels = load_wheels(facts.folder / "wheels", knows_cuda=facts.drivers.knows)
        if self.wheelhouse is None:
            return resolve(self.goal, patient.environment, known_wheels, facts)
        here = read_wheelhouse(self.wheelhouse, known_wheels)
        found = resolve(self.goal, patient.environment, Wheels(groups=()).plus(here), facts)
        if isinstance(found, NoPlan) and not self.offline:
            return resolve(self.goal, patient.environment, known_wheels.plus(here), facts)
        return found

    def _settled(self, plan: Plan, patient: Patient) -> Plan:
        """Addresses for every step: from the folder where it has them, else from the index."""
        if self.wheelhouse is not None:
            plan = settle_from(self.wheelhouse, plan)
        if not any(isinstance(step, Install) and not step.settled for step in plan.steps):
            return plan
        program = find_uv()
        if program is None:
            names = ", ".join(step.name for step in plan.steps if isinstance(step, Install) and not step.settled)
            message = f"the package index has to be asked for {names}, which needs uv"
            raise NoPlanFound(message, advice="Install uv beside flash-doctor, or give the wheels: --wheelhouse DIR")
        folders = (self.wheelhouse,) if self.wheelhouse else ()
        lookup = UvLookup(runner=self.runner, uv=str(program), offline=self.offline, find_links=folders)
        return settle(plan, patient.environment, lookup)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsPlanned:
    """A plan that was made before, perhaps on another machine."""

    ready: Plan

    def fulfilled(self, patient: Patient, facts: Facts) -> tuple[str, ...]:
        left = remaining(self.ready.steps, patient)
        names = [step.name for step in self.ready.steps if step.name in FLASH]
        if left or any(flash_faults(patient, name, facts) for name in names):
            return ()
        return ("everything in the plan is there already",)

    def plan(self, patient: Patient, facts: Facts) -> Plan:  # noqa: ARG002 the interface's
        return replace(self.ready, steps=remaining(self.ready.steps, patient) or self.ready.steps)


def remaining(steps: Sequence[Step], patient: Patient) -> tuple[Step, ...]:
    """The steps that are not done yet."""
    return tuple(step for step in steps if not _done(step, patient))


def _done(step: Step, patient: Patient) -> bool:
    """A library is known by the address it came from, since its metadata may lack the local version."""
    package = patient.packages.find(step.name)
    if not isinstance(step, Install):
        return False
    if package is None or known_loss(package):
        return False
    if known(package.url) is not None:
        return known(package.url) == step.url
    return step.name not in FLASH and step.requirement in {f"{step.name}=={package.raw_version}", step.name}


def known_loss(package: object) -> bool:
    """Whether files of an installed distribution are missing or changed, as far as they were compared."""
    check = known(getattr(package, "record", None))
    return bool(check and (check.missing or check.changed))


def flash_faults(patient: Patient, name: str, facts: Facts) -> tuple[str, ...]:
    """Why the installed library would not load or run; the same check that staged files have to pass."""
    flash = known(patient.environment.flash)
    if flash is None:
        return ("it is not there",)
    mine = tuple(path for path in flash.extensions if flash.owners.get(str(path)) == canonicalize_name(name))
    return installed_faults(mine, patient, facts)
