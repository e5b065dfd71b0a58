"""C: what a known-good stack asks for (`check --stack NAME`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from flash_doctor.diagnose import words
from flash_doctor.diagnose.needs import first_of_each, fits
from flash_doctor.diagnose.registry import check
from flash_doctor.model import Family, Finding, Packages, RequirementLine, Severity, known
from flash_doctor.system.commands import advice, command
from flash_doctor.system.requirement import parse

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.utils import NormalizedName

    from flash_doctor.facts.stacks import Stack
    from flash_doctor.model import Environment, Package

_SHOWN = 12


def with_stack(environment: Environment, stack: Stack, folder: Path) -> Environment:
    """The environment, to be compared with a stack, too; `folder` holds the files of the stacks."""
    file = folder / f"{stack.project}.toml"
    lines = tuple(_line(text, number, file, stack.name) for number, text in enumerate(stack.requirements, 1))
    return replace(environment, requirements=(*(known(environment.requirements) or ()), *lines))


def _line(text: str, number: int, file: Path, stack: str) -> RequirementLine:
    asked = parse(text)
    return RequirementLine(
        requirement=text,
        name=asked.name,
        specifier=asked.specifier,
        line=number,
        file=file,
        stack=stack,
    )


@check("C712", Family.COMPANIONS)
def another_stack(requirements: tuple[RequirementLine, ...], packages: Packages) -> Iterator[Finding]:
    """What is installed is not the stack that was named.

    A stack is a set of versions that somebody used together, with its source (`flash-doctor stacks show NAME`). The
    one given with `--stack` is compared with what is installed, package by package.

    Check by hand: `pip list`, against `flash-doctor stacks show NAME`.

    What to do: `flash-doctor plan --stack NAME` says what would have to be installed. A stack is an example, not a
    law: other versions may work as well.
    """
    asked = [line for line in requirements if line.stack]
    installed = first_of_each(packages)
    differs = [told for line in asked if (told := _told(line, installed))]
    if differs:
        name = asked[0].stack
        yield Finding(
            code="C712",
            severity=Severity.WARNING,
            subject=name,
            summary=f"{len(differs)} of {len(asked)} versions of the stack {name} are not what is installed",
            evidence=words.listing(differs, _SHOWN),
            remedy=advice(
                "See what would change.",
                command("flash-doctor plan --stack {}", name),
                command("flash-doctor stacks show {}", name),
            ),
        )


def _told(line: RequirementLine, installed: dict[NormalizedName, Package]) -> str:
    """How the installed version differs; nothing where it does not."""
    package = installed.get(line.name)
    if package is None:
        return f"{line.requirement}: not installed"
    return "" if fits(line.specifier, package.version) else f"{line.requirement}: {package.raw_version} is installed"
