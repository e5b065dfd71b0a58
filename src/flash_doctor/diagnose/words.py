"""What rules say in common: where a distribution lies, how it came there, and the commands a person types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.model import Goal, Package, Python, Remedy, known

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

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
        return f"uv pip {arguments} --python {python.executable}"
    return f"{python.executable} -m pip {arguments}"


def uninstall(python: Python, *names: str) -> str:
    confirm = "" if known(python.pip) is None else " -y"
    return pip(python, f"uninstall{confirm} {' '.join(names)}")


def install(python: Python, *requirements: str) -> str:
    return pip(python, "install " + " ".join(f'"{requirement}"' for requirement in requirements))


def fix(text: str, *commands: str, allow: tuple[str, ...] = ()) -> Remedy:
    """A remedy that `flash-doctor fix` can carry out; `commands` are shown in place of it when given."""
    option = f" --allow {','.join(allow)}" if allow else ""
    return Remedy(text=text, commands=commands or (f"{PLAN}{option}", f"{FIX}{option}"), goal=Goal(allow=allow))


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
