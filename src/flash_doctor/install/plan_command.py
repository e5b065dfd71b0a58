"""What to prescribe: the machine's environment, its diagnosis and the goal give a Consultation; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import CommandFailed, NoPlanFound
from flash_doctor.facts.stacks import Stack
from flash_doctor.model import Absent, Environment, Family, Goal, Report, Severity, known
from flash_doctor.model.plan import Consultation, Install, NoPlan, Plan
from flash_doctor.resolve import resolve, settle
from flash_doctor.resolve.constraints import take_seat
from flash_doctor.resolve.goal import FLASH, Wish, read_goal
from flash_doctor.resolve.index_query import IndexUnreachable, Lookup
from flash_doctor.resolve.sources.matrix import Wheels
from flash_doctor.resolve.sources.overlay import Known, load_known
from flash_doctor.resolve.steps import TORCH, unmet
from flash_doctor.system.commands import without_options, words
from flash_doctor.system.requirement import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.facts import Facts
    from flash_doctor.model.plan import Step

_GROUND = {Family.HOST, Family.DRIVER, Family.GPU, Family.TORCH}
# files of torch are missing or changed, or two torches lie on each other: it has to be installed again
_DAMAGED = {"T505", "T506"}
# a fix that was cut off half way: the packages that are seen are neither the old ones nor the new ones
_CUT_OFF = {"P409"}
MAX_NOTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMachine:
    """The machine: its environment, in words, and its diagnosis (None for one that was only described).

    `families` maps the code of each check to its family.
    """

    environment: Environment
    machine: str
    report: Report | None = None
    families: Mapping[str, Family]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked: the goal, a stack to complete, a folder of wheels, a wheel to be explained.

    `lookup` makes whoever asks an index (None: nobody is asked, or nobody is there); `overlay` is the folder of the
    refreshed facts (`known` gives the wheels where they are read already), `command` the command line that asked.
    """

    goal: Goal
    command: tuple[str, ...]
    overlay: Path
    stack: Stack | None = None
    wheelhouse: Path | None = None
    offline: bool = False
    why: str | None = None
    lookup: Callable[[], Lookup | None] = lambda: None
    known: Callable[[], Known] | None = None


def consult(request: Request, scene: PlannedMachine, facts: Facts) -> Consultation:
    """The answer to a request.

    Raises:
        BadInput: a goal that contradicts itself, a wheelhouse with broken wheels, an unknown wheel in `why`.
    """
    wish = read_goal(request.goal)
    shelf = request.known() if request.known else load_known(facts, request.overlay)
    environment, goal = _as_if_new(scene, request.goal, wish)
    healthy = _fulfilled(scene, wish) if request.stack is None else ()
    if healthy:
        found = _Found(answer=Plan(goal=goal, steps=(), because=healthy), wheels=shelf.wheels)
    else:
        found = _resolved(request, goal, environment, shelf.wheels, facts)
        found = replace(found, answer=_with_stack(found.answer, request.stack, environment))
        found = _settled(found, request, environment)
    if isinstance(found.answer, NoPlan) and found.answer.command:
        own = without_options(request.command, "--want", "--stack", "--keep")
        with_torch = words(*own, "--want", "torch", "--want", wish.flash or "flash-attn")
        found = replace(found, answer=replace(found.answer, command=with_torch))
    explained: tuple[str, ...] = ()
    if request.why is not None:
        from flash_doctor.resolve.rank import why

        explained = why(found.answer, request.why, found.wheels, take_seat(environment, facts, wish).seat)
    packages = known(scene.environment.packages)
    return Consultation(
        answer=found.answer,
        machine=scene.machine,
        command=request.command,
        knowledge=shelf.knowledge,
        now={str(one.name): one.raw_version for one in packages.distributions} if packages else {},
        why=explained,
        notes=(*found.notes, *_still_wrong(scene)),
    )


def _as_if_new(scene: PlannedMachine, goal: Goal, wish: Wish) -> tuple[Environment, Goal]:
    """A damaged torch that is wanted counts as not there: the same version is planned again, or the one asked for."""
    torch = known(scene.environment.torch)
    damaged = scene.report is not None and any(finding.code in _DAMAGED for finding in scene.report.findings)
    if wish.torch is None or torch is None or not damaged:
        return scene.environment, goal
    same = f"torch=={torch.version}" if wish.torch.contains(torch.version, prereleases=True) else ""
    wanted = tuple(filter(None, (*goal.wanted, same)))
    return replace(scene.environment, torch=Absent(absent="it is damaged")), replace(goal, wanted=wanted)


def _fulfilled(scene: PlannedMachine, wish: Wish) -> tuple[str, ...]:
    """Why there is nothing to do; empty when there is: the wanted version is there and nothing is wrong with it."""
    report, packages, torch = scene.report, known(scene.environment.packages), known(scene.environment.torch)
    package = packages.find(wish.flash) if packages and wish.flash else None
    version = known(package.version) if package else None
    if report is None or package is None or version is None or not wish.admits(version) or torch is None:
        return ()
    if wish.torch is not None and not wish.torch.contains(torch.version, prereleases=True):
        return ()
    if _faults(report, scene.families) or unmet(package.name, package.requires, scene.environment):
        return ()
    unread = [one for one in report.unchecked if scene.families.get(one.code) is Family.FLASH]
    doubts = (f"not everything could be looked at: {one.code}, {one.why}" for one in unread[:MAX_NOTES])
    return (f"{package.name} {package.raw_version} is there and no fault was found in it", *doubts)


def _faults(report: Report, families: Mapping[str, Family]) -> bool:
    """Something is wrong with flash-attn, or torch is broken."""
    return any(
        (families.get(finding.code) is Family.FLASH and finding.severity is not Severity.INFO)
        or (families.get(finding.code) is Family.TORCH and finding.severity is Severity.ERROR)
        for finding in report.findings
    )


def _still_wrong(scene: PlannedMachine) -> Iterator[str]:
    """Errors that no wheel mends, so that nobody trusts the plan alone."""
    found = scene.report.findings if scene.report else ()
    ground = [one for one in found if one.code in _CUT_OFF or scene.families.get(one.code) in _GROUND]
    errors = [one for one in ground if one.severity is Severity.ERROR]
    for finding in errors[:MAX_NOTES]:
        yield f"{finding.code}: {finding.summary}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """An answer, the wheels it was chosen from, and what stayed open."""

    answer: Plan | NoPlan
    wheels: Wheels
    notes: tuple[str, ...] = ()


def _resolved(request: Request, goal: Goal, environment: Environment, wheels: Wheels, facts: Facts) -> _Found:
    """From the wheelhouse first, where there is one; from elsewhere when it does not do and others may be asked."""
    if request.wheelhouse is None:
        return _Found(answer=resolve(goal, environment, wheels, facts), wheels=wheels)
    from flash_doctor.resolve.sources.wheelhouse import read_wheelhouse

    here = read_wheelhouse(request.wheelhouse, wheels)
    own, every = Wheels(groups=()).plus(here), wheels.plus(here)
    answer = resolve(goal, environment, own, facts)
    if isinstance(answer, Plan) or request.offline:
        return _Found(answer=answer, wheels=every)
    return _Found(answer=resolve(goal, environment, every, facts), wheels=every)


def _with_stack(answer: Plan | NoPlan, stack: Stack | None, environment: Environment) -> Plan | NoPlan:
    """The rest of a stack: each of its lines that nothing installed meets, in place of what the plan says of it."""
    if stack is None or isinstance(answer, NoPlan):
        return answer
    lines = tuple(line for line in stack.requirements if parse(line).name not in {TORCH, *FLASH})
    rest = unmet(f"the stack {stack.name}", lines, environment)
    names = {step.name for step in rest}
    wrong = (f"known about this stack: {line}" for line in stack.wrong)
    steps: tuple[Step, ...] = (*(step for step in answer.steps if step.name not in names), *rest)
    return replace(answer, steps=steps, because=(*answer.because, *wrong))


def _settled(found: _Found, request: Request, environment: Environment) -> _Found:
    """Addresses for open steps, and what stays open: a plan without its index is a plan all the same."""
    plan = found.answer
    if isinstance(plan, NoPlan):
        return found
    if request.wheelhouse is not None:
        from flash_doctor.install.wheelhouse import settle_from

        plan = settle_from(request.wheelhouse, plan)
    names = ", ".join(step.name for step in plan.steps if isinstance(step, Install) and not step.settled)
    if not names:
        return replace(found, answer=plan)
    lookup = None if request.offline else request.lookup()
    if lookup is None:
        reason = "--offline" if request.offline else "neither uv nor pip is there to ask"
        note = f"the package index was not asked for {names} ({reason}): address and hash are still open"
        return replace(found, answer=plan, notes=(note,))
    try:
        return replace(found, answer=settle(plan, environment, lookup))
    except (IndexUnreachable, CommandFailed) as error:
        evidence = "; ".join((error.message, *error.evidence[-1:]))
        return replace(found, answer=plan, notes=(f"address and hash of {names} are still open: {evidence}",))
    except NoPlanFound as error:
        return replace(found, answer=_impossible(plan, error))


def _impossible(plan: Plan, error: NoPlanFound) -> NoPlan:
    """What the index said no to."""
    because = ("the wheel fits, but what it needs does not go together with what stays", *error.evidence)
    return NoPlan(goal=plan.goal, because=because, rejected=plan.rejected, alternatives=plan.alternatives)
