"""Requires-Dist against what is installed, with the target's marker environment. Extras are left aside.

A real environment has a thousand such lines: only a line whose version does not fit has its marker evaluated
(rarely one in twenty), so that packaging's parser is often not needed at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from packaging.utils import NormalizedName

from flash_doctor.errors import BadInput
from flash_doctor.model import Absent, Package, Packages, Python, Torch, Unknown
from flash_doctor.system.requirement import readable, specifiers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.version import Version

    from flash_doctor.system.requirement import Requirement


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
    wanted = (line for line in readable(package.requires) if not line.of_extra)
    yield from _unmet(package, wanted, installed, python.markers)


def _unmet(
    package: Package,
    wanted: Iterable[Requirement],
    installed: Mapping[NormalizedName, Package],
    markers: Mapping[str, str],
    extra: str = "",
) -> Iterator[Need]:
    for line in wanted:
        found = installed.get(line.name)
        if (found is None or not fits(line.specifier, found.version)) and line.holds(markers, extra):
            yield Need(package=package, name=line.name, specifier=line.specifier, found=found)


def unmet_of_extras(package: Package, installed: Mapping[NormalizedName, Package], python: Python) -> Iterator[Need]:
    """What the distribution asks for by way of another's extras, one step deep, and is not there.

    torch's CUDA 13 builds ask for `cuda-toolkit[cublas,cudart]`: an empty package whose extras name the libraries.
    """
    for line in readable(package.requires):
        found = installed.get(line.name) if line.extras else None
        if found is None or not line.holds(python.markers):
            continue
        for extra in line.extras:
            wanted = (each for each in readable(found.requires) if each.of_extra)
            yield from _unmet(found, wanted, installed, python.markers, extra)


def first_of_each(packages: Packages) -> dict[NormalizedName, Package]:
    """By name, the distribution that an import meets first."""
    return {package.name: package for package in reversed(packages.distributions)}


def disagree(packages: Packages, torch: Torch) -> bool:
    """Whether torch's metadata names another release than its files."""
    package = packages.find("torch")
    version = torch.version if package is None else package.version
    return not isinstance(version, (Absent, Unknown)) and version.release != torch.version.release


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
        return specifiers(specifier).contains(version, prereleases=True)
    except BadInput:  # the address of `@ address`
        return True
