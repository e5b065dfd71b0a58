"""Where a treatment's plan comes from: a goal that is resolved here, or a plan that was made before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from packaging.utils import canonicalize_name

from flash_doctor.errors import NoPlanFound
from flash_doctor.install.judge import installed_faults
from flash_doctor.install.plan_command import PlannedMachine, Request, consult
from flash_doctor.model import Goal, known
from flash_doctor.model.plan import Build, Install, NoPlan, Plan, Remove
from flash_doctor.resolve.goal import FLASH, read_goal
from flash_doctor.resolve.index_query import Lookup
from flash_doctor.resolve.steps import unmet
from flash_doctor.system.requirement import parse, specifiers
from flash_doctor.system.url import public

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_doctor.facts import Facts
    from flash_doctor.install.target_state import TargetState
    from flash_doctor.model.plan import Step

_SHOWN = 3


class Prescription(Protocol):
    """What is to be reached, for a patient that has been examined."""

    def fulfilled(self, patient: TargetState, facts: Facts) -> tuple[str, ...]:
        """Why there is nothing to do; empty when there is."""
        ...

    def plan(self, patient: TargetState, facts: Facts) -> Plan:
        """The plan, every step with an address; raises NoPlanFound."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ForGoal:
    """Resolve a goal on this machine, as `doctor plan` does.

    With `wheelhouse` from that folder, and from elsewhere only where it does not do; `overlay` is the folder of the
    refreshed facts, `lookup` makes whoever asks an index.
    """

    goal: Goal
    overlay: Path
    wheelhouse: Path | None = None
    offline: bool = False
    lookup: Callable[[], Lookup | None] = lambda: None

    def fulfilled(self, patient: TargetState, facts: Facts) -> tuple[str, ...]:
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
        whole = not known_loss(package) and not unmet(package.name, package.requires, patient.environment)
        works = whole and not flash_faults(patient, wish.flash, facts)
        return (f"{package.name} {package.raw_version} is there, loads, and fits the GPUs",) if works else ()

    def plan(self, patient: TargetState, facts: Facts) -> Plan:
        target = patient.target
        request = Request(
            goal=self.goal,
            command=("flash-doctor", "plan", "--python", target.given or str(target.python)),
            overlay=self.overlay,
            wheelhouse=self.wheelhouse,
            offline=self.offline,
            lookup=self.lookup,
        )
        found = consult(request, PlannedMachine(environment=patient.environment, machine="", families={}), facts)
        if isinstance(found.answer, NoPlan):
            raise _no_plan(self.goal, found.answer)
        _demand_addresses(found.answer, found.notes)
        return found.answer


def _no_plan(goal: Goal, answer: NoPlan) -> NoPlanFound:
    """The refusals and the nearest solutions, in short."""
    refused = dict.fromkeys(f"{one.wheel.filename}: {one.why}" for one in answer.rejected[:_SHOWN])
    lines = [*answer.because, *refused]
    lines += [f"possible: {'; '.join(one.change)}" for one in answer.alternatives[:_SHOWN]]
    message = f"there is no plan for {' and '.join(goal.wanted)} as things are"
    return NoPlanFound(
        message,
        evidence=lines,
        advice=f"`{answer.command}`" if answer.command else "See all of it: `flash-doctor plan`",
    )


def _demand_addresses(plan: Plan, notes: Sequence[str]) -> None:
    """What has no address cannot be installed; the notes say who was not asked, or did not answer."""
    names = [step.name for step in plan.steps if isinstance(step, Install) and not step.settled]
    if names:
        message = f"it is not known where {' and '.join(names)} could be fetched"
        raise NoPlanFound(
            message, evidence=notes, advice="Give the wheels (--wheelhouse DIR), or let uv ask the index."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AsPlanned:
    """A plan that was made before, perhaps on another machine."""

    ready: Plan

    def fulfilled(self, patient: TargetState, facts: Facts) -> tuple[str, ...]:
        left = remaining(self.ready.steps, patient, facts)
        names = [step.name for step in self.ready.steps if step.name in FLASH and not isinstance(step, Remove)]
        if left or any(flash_faults(patient, name, facts) for name in names):
            return ()
        return ("everything in the plan is there already",)

    def plan(self, patient: TargetState, facts: Facts) -> Plan:
        return replace(self.ready, steps=remaining(self.ready.steps, patient, facts) or self.ready.steps)


def remaining(steps: Sequence[Step], patient: TargetState, facts: Facts) -> tuple[Step, ...]:
    """The steps that are not done yet."""
    return tuple(step for step in steps if not _done(step, patient, facts))


def _done(step: Step, patient: TargetState, facts: Facts) -> bool:
    """A library is known by the address it came from, since its metadata may lack the local version.

    What was compiled has no address that would tell: it is done when that version is there and fits.
    """
    if isinstance(step, Remove):
        return not patient.copies(step.name)
    package = patient.packages.find(step.name)
    if package is None or known_loss(package):
        return False
    if isinstance(step, Build):
        wanted = specifiers(parse(step.requirement).specifier)
        return wanted.contains(package.raw_version, prereleases=True) and not flash_faults(patient, step.name, facts)
    if known(package.url) is not None:
        return step.url is not None and known(package.url) == public(step.url)
    return step.name not in FLASH and step.requirement in {f"{step.name}=={package.raw_version}", step.name}


def known_loss(package: object) -> bool:
    """Whether files of an installed distribution are missing or changed, as far as they were compared."""
    check = known(getattr(package, "record", None))
    return bool(check and (check.missing or check.changed))


def flash_faults(patient: TargetState, name: str, facts: Facts) -> tuple[str, ...]:
    """Why the installed library would not load or run; the same check that staged files have to pass."""
    flash = known(patient.environment.flash)
    if flash is None:
        return ("it is not there",)
    mine = tuple(path for path in flash.extensions if flash.owners.get(str(path)) == canonicalize_name(name))
    return installed_faults(mine, patient, facts)
