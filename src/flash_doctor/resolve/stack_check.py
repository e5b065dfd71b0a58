"""Whether a stack is consistent today: asked of an index without installing, and its flash-attn asked of the matrix."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from flash_doctor.errors import CommandFailed, NoPlanFound
from flash_doctor.model import Goal
from flash_doctor.model.plan import Plan
from flash_doctor.model.wheel import StackVerdict
from flash_doctor.resolve import resolve
from flash_doctor.resolve.describe import describe
from flash_doctor.resolve.goal import FLASH
from flash_doctor.resolve.index_query import IndexQuery, IndexUnreachable
from flash_doctor.resolve.steps import TORCH
from flash_doctor.system.requirement import parse

if TYPE_CHECKING:
    from flash_doctor.facts import Facts
    from flash_doctor.facts.stacks import Stack
    from flash_doctor.resolve import Lookup, Wheels

_ONLY_SOURCE = re.compile(r"Wheels are required for `([^`]+)`")
_GLIBC = (2, 35)


def check_stack(stack: Stack, wheels: Wheels, facts: Facts, lookup: Lookup) -> StackVerdict:
    """Ask about every line of a stack; on Linux x86_64 with the stack's Python."""
    flash = _flash(stack, wheels, facts)
    left = [line for line in stack.requirements if parse(line).name not in FLASH]
    not_judged: list[str] = []
    verdict = _ask(stack, left, lookup)
    while verdict.not_judged and len(not_judged) < len(stack.requirements):
        not_judged += verdict.not_judged
        left = [line for line in left if line not in not_judged]
        verdict = _ask(stack, left, lookup)
    consistent = False if verdict.consistent and flash.consistent is False else verdict.consistent
    return replace(verdict, consistent=consistent, why=(*verdict.why, *flash.why), not_judged=tuple(not_judged))


def _ask(stack: Stack, lines: list[str], lookup: Lookup) -> StackVerdict:
    """The index's answer; with `not_judged` it is none, because of these lines."""
    try:
        found = lookup.answer(_question(stack, lines))
    except (IndexUnreachable, CommandFailed) as error:
        return StackVerdict(consistent=None, why=(error.message, *error.evidence))
    except NoPlanFound as error:
        sources = set(_ONLY_SOURCE.findall("\n".join(error.evidence)))
        dropped = tuple(line for line in lines if parse(line).name in sources)
        return StackVerdict(consistent=False, why=error.evidence, not_judged=dropped)
    why = (f"the index has a set of {len(found)} distributions for it",)
    return StackVerdict(consistent=True, why=why, versions=tuple(f"{one.name}=={one.version}" for one in found))


def _question(stack: Stack, lines: list[str]) -> IndexQuery:
    return IndexQuery(
        requirements=tuple(lines),
        constraints=(),
        python=stack.python or None,
        machine="x86_64",
        glibc=_GLIBC,
        indexes=(),
    )


def _flash(stack: Stack, wheels: Wheels, facts: Facts) -> StackVerdict:
    """Whether a wheel of the stack's flash-attn exists for its torch and Python."""
    torch, flash = stack.requirement(TORCH), stack.requirement(FLASH[0])
    exact = re.fullmatch(r"torch==([\w.]+)", torch or "")
    if flash is None or exact is None:
        return StackVerdict(consistent=None, why=())
    version = f"{exact[1]}+{stack.cuda}" if stack.cuda else exact[1]
    environment = describe(facts, torch=version, python_version=stack.python or None, machine="x86_64")
    answer = resolve(Goal(wanted=(flash,)), environment, wheels, facts)
    if isinstance(answer, Plan) and answer.wheel is not None:
        return StackVerdict(consistent=True, why=(f"a wheel of {flash} exists: {answer.wheel.filename}",))
    near = answer.rejected[0].why if answer.rejected else ""
    return StackVerdict(consistent=False, why=(f"no wheel of {flash} exists for torch {version}: {near}",))
