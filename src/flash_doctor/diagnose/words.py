"""What rules say in common: where a distribution lies, how it came there, and the commands a person types."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.errors import BadInput
from flash_doctor.model import CommandLine, Goal, Package, Python, Remedy, known
from flash_doctor.system.commands import FIX, PLAN, advice, command, install
from flash_doctor.system.requirement import valid_version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from flash_doctor.facts import Facts


def lies_in(package: Package) -> str:
    return f"{package.name} {package.raw_version} is recorded in {package.metadata}"


def came_from(package: Package) -> tuple[str, ...]:
    """One line naming who installed it, when the metadata tells."""
    url = known(package.url)
    if url:
        return (f"installed from {url} ({package.metadata / 'direct_url.json'})",)
    return (f"installed by {package.installer} ({package.metadata / 'INSTALLER'})",) if package.installer else ()


def fix(text: str, *commands: CommandLine | None, allow: tuple[str, ...] = ()) -> Remedy:
    """A remedy that `flash-doctor fix` can carry out; `commands` are shown in place of it when given."""
    moves = ",".join(allow)
    own = (command("flash-doctor plan --allow {}", moves), command("flash-doctor fix --allow {}", moves))
    return advice(text, *(commands or (own if allow else (PLAN, FIX))), goal=Goal(allow=allow))


def same_torch(version: str, python: Python, facts: Facts) -> CommandLine | None:
    """The command that puts the very same torch there again: a label such as +cu128 tells the index of its build."""
    public, _, label = version.partition("+")
    cuda = re.fullmatch(r"cu(\d{1,4})(\d)", label, re.ASCII)
    try:
        index = torch_index(valid_version(public), Version(f"{cuda[1]}.{cuda[2]}"), facts) if cuda else ""
    except BadInput:
        return None
    pin = f"torch=={version if index else public}"
    return install(python, pin, options="--force-reinstall --no-deps", index=index)


def torch_index(version: Version, cuda: Version | None, facts: Facts) -> str:
    """The index of that build of torch; nothing where the facts have none."""
    build = facts.torch.build(version, cuda) if cuda else None
    return build.index if build else ""


def listing(items: Iterable[Path | str], most: int = 5) -> tuple[str, ...]:
    """The first lines of a long list, and how many more there are."""
    lines = [str(item) for item in items]
    rest = len(lines) - most
    return (*lines[:most], f"… and {rest} more") if rest > 0 else tuple(lines)


def address(package: Package) -> str:
    """Where it was installed from, or nothing."""
    return known(package.url) or ""


def is_cpython(python: Python) -> bool:
    """False for PyPy and others, of which P401 tells; rules on Python versions then have nothing to add."""
    return python.implementation.lower() == "cpython"
