"""What rules say in common: where a distribution lies, how it came there, and the commands a person types."""

from __future__ import annotations

import re
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.model import Finding, Goal, Package, Python, Remedy, known

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from flash_doctor.facts import Facts

OURS = "flash-doctor"
# our commands that change or look at the target: they must name it, since they may be typed anywhere
_ABOUT_TARGET = re.compile(rf"^{OURS} (?:plan|fix|verify|rollback|check(?!.* --host-only))(?!.* --python)")
PLAN = "flash-doctor plan"
FIX = "flash-doctor fix"


def lies_in(package: Package) -> str:
    return f"{package.name} {package.raw_version} is recorded in {package.metadata}"


def came_from(package: Package) -> tuple[str, ...]:
    """One line naming who installed it, when the metadata tells."""
    url = known(package.url)
    if url:
        return (f"installed from {url} ({package.metadata / 'direct_url.json'})",)
    return (f"installed by {package.installer} ({package.metadata / 'INSTALLER'})",) if package.installer else ()


def pip(python: Python, arguments: str) -> str:
    """The pip command line for the target; uv's where the target has no pip."""
    if known(python.pip) is None:
        return f"uv pip {arguments} --python {quote(str(python.executable))}"
    return f"{quote(str(python.executable))} -m pip {arguments}"


def uninstall(python: Python, *names: str) -> str:
    confirm = "" if known(python.pip) is None else " -y"
    return pip(python, f"uninstall{confirm} {' '.join(names)}")


def delete(path: Path) -> str:
    return f"rm -r {quote(str(path))}"


def install(python: Python, *requirements: str) -> str:
    return pip(python, "install " + " ".join(f'"{requirement}"' for requirement in requirements))


def fix(text: str, *commands: str, allow: tuple[str, ...] = ()) -> Remedy:
    """A remedy that `flash-doctor fix` can carry out; `commands` are shown in place of it when given."""
    option = f" --allow {','.join(allow)}" if allow else ""
    return Remedy(text=text, commands=commands or (f"{PLAN}{option}", f"{FIX}{option}"), goal=Goal(allow=allow))


def addressed(finding: Finding, python: Path | None, program: str) -> Finding:
    """The finding with our own commands as they can be typed in any folder: called as `program`, about `python`.

    Without `python` no interpreter was looked at, and none is named.
    """
    remedy = finding.remedy
    if remedy is None:
        return finding
    option = f" --python {quote(str(python))}" if python else ""
    named = (_ABOUT_TARGET.sub(lambda match: match[0] + option, line) for line in remedy.commands)
    commands = tuple(program + line.removeprefix(OURS) if line.startswith(f"{OURS} ") else line for line in named)
    return replace(finding, remedy=replace(remedy, commands=commands))


def same_torch(version: str, python: Python, facts: Facts) -> str:
    """The command that puts the very same torch there again: a label such as +cu128 tells the index of its build."""
    public, _, label = version.partition("+")
    cuda = re.fullmatch(r"cu(\d+)(\d)", label)
    index = torch_index(Version(public), Version(f"{cuda[1]}.{cuda[2]}"), facts) if cuda else ""
    return pip(python, f"install --force-reinstall --no-deps torch=={version if index else public}{index}")


def torch_index(version: Version, cuda: Version | None, facts: Facts) -> str:
    """The index of that build of torch, as an option of pip; nothing where the facts have none."""
    build = facts.torch.build(version, cuda) if cuda else None
    return f" --index-url {build.index}" if build else ""


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
