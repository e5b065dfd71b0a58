"""The numbering rule for a folder of setup scripts: `0_create_venv.sh`, `1_install_torch.sh`, one script a step.

Two scripts with one number, or a gap, mean that nobody knows what was run in which order. Every script is named in
the README, in its order, and the README names none that is not there.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.model import Finding, Remedy, Severity
from flash_doctor.model.explanation import Meaning

if TYPE_CHECKING:
    from collections.abc import Iterator

_WHOLE = "Who sets a machine up from the scripts cannot know what to run, or in which order."
MEANINGS = (
    Meaning(
        code="S101",
        title="Two scripts have the same number.",
        cause="Which of the two comes first is anybody's guess, and on two machines it is guessed differently.",
        remedy="Number them apart, in the order in which they must run.",
    ),
    Meaning(
        code="S102",
        title="A number is missing.",
        cause="The numbers begin with 0 or 1 and have no gap: a gap looks like a script that was lost.",
        remedy="Renumber the scripts that follow, and name them so in the README.",
    ),
    Meaning(
        code="S103",
        title="No README tells the order of the scripts.",
        cause=f"It is looked for in the folder and in the one above. {_WHOLE}",
        remedy="Write a README that names every script in its order, with a sentence on what it does.",
    ),
    Meaning(
        code="S104",
        title="The README does not name a script.",
        cause=_WHOLE,
        remedy="Name it there, in its place.",
    ),
    Meaning(
        code="S105",
        title="The README names a script that is not there.",
        cause="It was renamed or removed, and the README was not told.",
        remedy="Correct the name in the README, or remove it there.",
    ),
    Meaning(
        code="S106",
        title="The README names the scripts in another order than their numbers.",
        cause="One of the two orders is wrong, and who reads the README follows that one.",
        remedy="Sort the README, or renumber the scripts.",
    ),
)
_NUMBERED = re.compile(r"(\d+)[_-][\w.-]+")
_README_LIMIT = 4 << 20


def lint_setup(folder: Path) -> tuple[Finding, ...]:
    """What breaks the rule in `folder`.

    Raises:
        BadInput: no such folder, or it holds no numbered script.
    """
    if not folder.is_dir():
        message = f"{folder} is not a folder"
        raise BadInput(message)
    scripts = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.name)
    steps = [(int(match.group(1)), path.name) for path in scripts if (match := _NUMBERED.fullmatch(path.name))]
    if not steps:
        message = f"{folder} holds no numbered script, as in 0_create_venv.sh"
        raise BadInput(message)
    steps.sort()
    readme = _readme(folder)
    return (*_numbers(steps), *_named(steps, readme, folder))


def _numbers(steps: list[tuple[int, str]]) -> Iterator[Finding]:
    for (number, name), (following, other) in pairwise(steps):
        if number == following:
            yield _finding("S101", other, f"two scripts are step {number}", (name, other), "Number them apart.")
        elif following > number + 1:
            gap = f"no script is step {number + 1}"
            yield _finding("S102", other, gap, (f"{name} is followed by {other}",), "Close the gap.")
    first, name = steps[0]
    if first > 1:
        yield _finding("S102", name, f"the first step is {first}", (name,), "Begin with 0 or 1.")


def _named(steps: list[tuple[int, str]], readme: Path | None, folder: Path) -> Iterator[Finding]:
    if readme is None:
        text = "Write a README that names every step in its order."
        yield _finding("S103", str(folder), "no README tells the order of the scripts", (str(folder),), text)
        return
    text = readme.read_text(encoding="utf-8", errors="replace")[:_README_LIMIT]
    names = [name for _, name in steps]
    mentioned = [name for name in dict.fromkeys(_mentions(text)) if name in names or _looks_like_step(name, names)]
    for name in names:
        if name not in mentioned:
            yield _finding("S104", name, "the README does not name this script", (str(readme),), "Name it there.")
    for name in mentioned:
        if name not in names:
            yield _finding("S105", name, "the README names a script that is not there", (str(readme),), "Remove it.")
    order = [name for name in mentioned if name in names]
    if order != [name for name in names if name in order]:
        evidence = (f"{readme}: {', '.join(order)}",)
        yield _finding("S106", readme.name, "the README names the scripts in another order", evidence, "Sort it.")


def _mentions(text: str) -> Iterator[str]:
    return (match.group(0) for match in re.finditer(r"(?<![\w.-])\d+[_-][\w.-]*\w", text))


def _looks_like_step(name: str, names: list[str]) -> bool:
    """A number in prose is no script: only names with the suffix of a script that is there count."""
    return Path(name).suffix in {Path(known).suffix for known in names} and Path(name).suffix != ""


def _readme(folder: Path) -> Path | None:
    """The README of the folder, or of the project above it."""
    for place in (folder, *folder.absolute().parents[:1]):
        for path in sorted(place.glob("README*")):
            if path.is_file():
                return path
    return None


def _finding(code: str, subject: str, summary: str, evidence: tuple[str, ...], text: str) -> Finding:
    return Finding(
        code=code,
        severity=Severity.ERROR,
        subject=subject,
        summary=summary,
        evidence=evidence,
        remedy=Remedy(text=text),
    )
