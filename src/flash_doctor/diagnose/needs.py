"""Requires-Dist against what is installed, with the target's marker environment. Extras are left aside.

A real environment has a thousand such lines: only a line whose version does not fit has its marker evaluated
(rarely one in twenty), so that packaging's parser is often not needed at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name

from flash_doctor.diagnose.registry import CouldNotLook
from flash_doctor.model import Absent, Package, Packages, Python, Torch, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from packaging.version import Version

# PEP 508 with the parentheses that old metadata puts round a version: name, extras, specifier, marker.
_LINE = re.compile(
    r"\s*(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[(?P<extras>[^\]]*)\])?\s*\(?(?P<specifier>[^;@()]*)\)?"
    r"\s*(?:@[^;]*)?(?:;(?P<marker>.*))?$"
)
_EXTRA = re.compile(r"\bextra\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A requirement of `package` that is not met: `found` is None where `name` is not installed."""

    package: Package
    name: NormalizedName
    specifier: str
    found: Package | None

    @property
    def requirement(self) -> str:
        return f"{self.name}{self.specifier}"

    @property
    def line(self) -> str:
        """What the metadata says and what is there, for a person."""
        there = f"{self.found.raw_version} is installed" if self.found else "it is not installed"
        return f"{self.package.metadata / 'METADATA'}: Requires-Dist: {self.requirement}; {there}"


def unmet(package: Package, installed: Mapping[NormalizedName, Package], python: Python) -> Iterator[Need]:
    """The requirements of one distribution that the target, `installed`, does not meet."""
    for line in package.requires:
        parsed = _parse(line)
        if parsed is None:
            continue
        name, specifier, marker = parsed
        found = installed.get(name)
        if found and fits(specifier, found.version):
            continue
        if marker is None or holds(marker, python.markers):
            yield Need(package=package, name=name, specifier=specifier, found=found)


def unmet_of_extras(package: Package, installed: Mapping[NormalizedName, Package], python: Python) -> Iterator[Need]:
    """What the distribution asks for by way of another's extras, one step deep, and is not there.

    torch's CUDA 13 builds ask for `cuda-toolkit[cublas,cudart]`: an empty package whose extras name the libraries.
    """
    for line in package.requires:
        match = _LINE.match(line)
        found = installed.get(canonicalize_name(match["name"])) if match and match["extras"] else None
        if match and found and (match["marker"] is None or holds(match["marker"], python.markers)):
            for extra in match["extras"].split(","):
                yield from unmet(_with_extra(found, extra.strip(), python), installed, python)


def _with_extra(package: Package, extra: str, python: Python) -> Package:
    """The distribution as if it asked for nothing but what that extra brings."""
    environment = {**python.markers, "extra": extra}
    lines = [(line.partition(";")[0], line.partition(";")[2]) for line in package.requires]
    wanted = [line for line, marker in lines if _EXTRA.search(marker) and holds(marker, environment)]
    return replace(package, requires=tuple(wanted))


def first_of_each(packages: Packages) -> dict[NormalizedName, Package]:
    """By name, the distribution that an import meets first."""
    return {package.name: package for package in reversed(packages.distributions)}


def one_torch(packages: Packages, torch: Torch) -> None:
    """Raises CouldNotLook where T506 fires: what fits which torch cannot be said before that is settled."""
    if len(packages.copies("torch")) > 1 or disagree(packages, torch):
        message = "it is not settled which torch counts: its files and its metadata disagree (T506)"
        raise CouldNotLook(message)


def disagree(packages: Packages, torch: Torch) -> bool:
    """Whether torch's metadata names another release than its files."""
    package = packages.find("torch")
    version = torch.version if package is None else package.version
    return not isinstance(version, (Absent, Unknown)) and version.release != torch.version.release


@cache
def _parse(line: str) -> tuple[NormalizedName, str, str | None] | None:
    """Name, specifier and marker; None for a line of an extra, or one that cannot be read."""
    match = _LINE.match(line)
    if match is None or (match["marker"] and _EXTRA.search(match["marker"])):
        return None
    marker = match["marker"].strip() if match["marker"] else None
    return canonicalize_name(match["name"]), match["specifier"].strip().replace(" ", ""), marker


def fits(specifier: str, version: Version | Absent | Unknown) -> bool:
    """Whether the version is allowed; what cannot be compared is not complained of.

    A pre-release counts as its version: it is installed already. A local label (+cu128) is ignored, as pip does.
    """
    if not specifier or isinstance(version, (Absent, Unknown)):
        return True
    return _fits(specifier, version)


@cache
def _fits(specifier: str, version: Version) -> bool:
    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


def holds(marker: str, environment: Mapping[str, str]) -> bool:
    """The marker's value on the target; an unreadable marker holds not."""
    return _holds(marker, tuple(sorted(environment.items())))


@cache
def _holds(marker: str, environment: tuple[tuple[str, str], ...]) -> bool:
    from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName

    try:
        return Marker(marker).evaluate({"extra": "", **dict(environment)})
    except (InvalidMarker, UndefinedEnvironmentName):
        return False
