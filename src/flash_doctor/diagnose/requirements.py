"""C: what installed packages ask for, and what the user's requirements file asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from flash_doctor.diagnose import words
from flash_doctor.diagnose.registry import check
from flash_doctor.diagnose.requires_dist import Need, first_of_each, fits, unmet
from flash_doctor.model import Family, Packages, Python, RequirementLine, Severity, known
from flash_doctor.rules.engine import Found
from flash_doctor.system.commands import advice, command, install, pip
from flash_doctor.system.requirement import parse

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.utils import NormalizedName

    from flash_doctor.facts.stacks import Stack
    from flash_doctor.model import Environment, Package


# What these need, and what they are needed for, is told by the rules on torch and its companions.
_OWN_RULE = ("torch", "triton")
_SHOWN = 8


@check("C710", Family.COMPANIONS)
def unmet_requirements(packages: Packages, python: Python) -> Iterator[Found]:
    """Installed packages need others that are missing or of another version.

    Each package names what it needs. pip looks at that for the packages it installs just then, not for those that are
    there already: what one install moves may break another package. Missing ones fail at once with
    `ModuleNotFoundError`; wrong versions fail later, with an `ImportError` or `AttributeError`.

    Check by hand: `pip check`.

    What to do: install what is asked for. Where two packages exclude each other, take another release of one of them.
    """
    installed = first_of_each(packages)
    needs = [
        need
        for package in installed.values()
        if package.name != "torch"
        for need in unmet(package, installed, python)
        if need.name not in _OWN_RULE
    ]
    if needs:
        yield Found(
            severity=Severity.WARNING,
            subject="packages",
            summary=_summary(needs),
            evidence=words.listing((need.line for need in needs), _SHOWN),
            remedy=advice(
                "Install what is asked for; look at the list first, for two may exclude each other.",
                install(python, *_wanted(needs)),
            ),
        )


def _summary(needs: list[Need]) -> str:
    missing = sorted({need.name for need in needs if need.found is None})
    wrong = sorted({need.name for need in needs if need.found is not None})
    parts = [f"{len(missing)} missing ({', '.join(missing[:3])})"] if missing else []
    parts += [f"{len(wrong)} of another version ({', '.join(wrong[:3])})"] if wrong else []
    return "installed packages need others: " + ", ".join(parts)


def _wanted(needs: list[Need]) -> list[str]:
    """One requirement for each name, with everything that is asked of it."""
    specifiers: dict[str, list[str]] = {}
    for need in needs:
        specifiers.setdefault(need.name, []).extend([need.specifier] if need.specifier else [])
    return [name + ",".join(dict.fromkeys(all_of)) for name, all_of in sorted(specifiers.items())[:_SHOWN]]


@check("C711", Family.COMPANIONS)
def requirements_file(requirements: tuple[RequirementLine, ...], packages: Packages, python: Python) -> Iterator[Found]:
    """The requirements file asks for something else than what is installed.

    Lines of the file given with `-r` whose condition (the part after `;`) holds for this Python are compared with what
    is installed.

    Check by hand: `pip install --dry-run -r FILE`.

    What to do: install the file; if it would move torch, let `flash-doctor plan` choose versions that fit together.
    """
    installed = first_of_each(packages)
    own = [line for line in requirements if not line.stack]
    lines = [line for line in own if not _met(line, installed)]
    if lines:
        file = lines[0].file
        yield Found(
            severity=Severity.WARNING,
            subject=str(file),
            summary=f"{len(lines)} of {len(own)} requirements of {file.name} are not met",
            evidence=words.listing((_told(line, installed) for line in lines), _SHOWN),
            remedy=advice(
                "Look at what would change, then install.",
                pip(python, "install --dry-run -r {}", file),
                pip(python, "install -r {}", file),
            ),
        )


def _met(line: RequirementLine, installed: dict[NormalizedName, Package]) -> bool:
    package = installed.get(line.name)
    return package is not None and fits(line.specifier, package.version)


def _told(line: RequirementLine, installed: dict[NormalizedName, Package]) -> str:
    package = installed.get(line.name)
    there = f"{package.raw_version} is installed" if package else "it is not installed"
    where = f" in {package.location}" if package and known(package.version) is None else ""
    return f"{line.file}:{line.line}: {line.requirement}; {there}{where}"


_SHOWN_ROWS = 12


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
def another_stack(requirements: tuple[RequirementLine, ...], packages: Packages) -> Iterator[Found]:
    """What is installed is not the stack that was named.

    A stack is a set of versions that somebody used together, with its source (`flash-doctor stacks show NAME`). The
    one given with `--stack` is compared with what is installed, package by package.

    Check by hand: `pip list`, against `flash-doctor stacks show NAME`.

    What to do: `flash-doctor plan --stack NAME` says what would have to be installed. A stack is an example, not a
    law: other versions may work as well.
    """
    asked = [line for line in requirements if line.stack]
    installed = first_of_each(packages)
    differs = [told for line in asked if (told := _row_told(line, installed))]
    if differs:
        name = asked[0].stack
        yield Found(
            severity=Severity.WARNING,
            subject=name,
            summary=f"{len(differs)} of {len(asked)} versions of the stack {name} are not what is installed",
            evidence=words.listing(differs, _SHOWN_ROWS),
            remedy=advice(
                "See what would change.",
                command("flash-doctor plan --stack {}", name),
                command("flash-doctor stacks show {}", name),
            ),
        )


def _row_told(line: RequirementLine, installed: dict[NormalizedName, Package]) -> str:
    """How the installed version differs; nothing where it does not."""
    package = installed.get(line.name)
    if package is None:
        return f"{line.requirement}: not installed"
    return "" if fits(line.specifier, package.version) else f"{line.requirement}: {package.raw_version} is installed"
