"""`wheel_matrix/stacks/*.toml`: versions that were used together, with source and with what is wrong in them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from flash_doctor.errors import BadInput
from flash_doctor.facts.kinds import GIVEN
from flash_doctor.facts.loading import Source, Table, TableSection
from flash_doctor.system.requirement import parse, valid_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Verdict = Literal["consistent", "inconsistent", "not checked"]
CHECKS: tuple[str, ...] = get_args(Verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One known set of versions.

    `requirements` are PEP 508 lines; `python` as 3.10 and `cuda` as cu121, "" where the source leaves them open;
    `check` is one of CHECKS: what a resolver said about the metadata on `checked` (None: never);
    `wrong` holds what is known to be wrong or worth knowing in it, as sentences.
    """

    name: str
    project: Annotated[str, GIVEN]
    python: str = ""
    cuda: str = ""
    kind: str
    date: datetime.date | None
    requirements: tuple[str, ...]
    check: Verdict
    checked: datetime.date | None
    wrong: tuple[str, ...] = ()
    source: Source

    def faults(self) -> Iterator[tuple[str, str]]:
        for line in self.requirements:
            try:
                asked = parse(line)
            except BadInput as error:
                yield "requirements", error.message
                continue
            if asked.marker or asked.url:
                yield "requirements", f"{line!r} should be a name and its versions alone"

    def requirement(self, name: str) -> str | None:
        """The line of one package, if the stack names it."""
        wanted = valid_name(name)
        return next((line for line in self.requirements if parse(line).name == wanted), None)


def find(stacks: Mapping[str, Stack], name: str) -> Stack:
    """The stack of that name, or the only one whose name begins with it.

    Raises:
        BadInput: none or several; the advice names the nearest.
    """
    if name in stacks:
        return stacks[name]
    begun = [known for known in stacks if known.startswith(name)]
    if len(begun) == 1:
        return stacks[begun[0]]
    message = f"{len(begun)} stacks are called {name}…" if begun else f"there is no stack {name!r}"
    raise BadInput(
        message, advice=f"`flash-doctor stacks` lists them; for example {', '.join((begun or list(stacks))[:5])}."
    )


def load(folder: Path) -> Mapping[str, Stack]:
    """Stacks by name, from every file in `folder`; raises BadFacts with every fault of the first faulty file."""
    stacks: dict[str, Stack] = {}
    for path in sorted(folder.glob("*.toml")):
        table = Table.read(path, project=path.stem)
        for number, stack in enumerate(table.listed(Stack, TableSection("stack")), 1):
            if stack.name in stacks:
                table.fault(f"stack.{number}", "name", f"{stack.name} is listed twice")
            stacks[stack.name] = stack
        table.finish()
    return stacks
