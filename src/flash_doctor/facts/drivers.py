"""Which driver a CUDA build needs: never "which CUDA a driver can", which gives false alarms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.facts.loading import Row, Source, Table
from flash_doctor.model import Capability

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverNeed:
    """What a CUDA build asks of the driver.

    From `full` on everything works; from `minimum` on minor-version compatibility applies: the build runs,
    but PTX is not compiled for the GPU, so its own code (SASS) must be in the binary.
    `full` is None for a CUDA minor version that the table does not know.
    """

    cuda: Version
    full: Version | None
    minimum: Version
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolkit:
    """One CUDA release: the oldest drivers of its first release (`linux[0]`, `windows`) and of its updates."""

    cuda: Version
    linux: tuple[Version, ...]
    windows: Version | None
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The oldest driver for something other than one CUDA release."""

    linux: Version
    windows: Version | None
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """drivers.toml: CUDA releases, major versions, floors per GPU, and where forward compatibility is refused."""

    toolkits: Mapping[Version, Toolkit]
    majors: Mapping[int, Floor]
    gpus: Mapping[Capability, Floor]
    no_forward_compatibility: tuple[str, ...]
    open_modules_from: Capability

    def knows(self, cuda: Version) -> bool:
        return minor(cuda) in self.toolkits

    def oldest_for(self, cuda: Version, *, windows: bool = False) -> DriverNeed | None:
        """The drivers that a CUDA build (12.8, 12.8.1) needs; None for an unknown major version.

        `windows`: in the numbers of the Windows driver, which is the one that WSL2 runs on.
        """
        major = self.majors.get(cuda.major)
        if major is None:
            return None
        toolkit = self.toolkits.get(minor(cuda))
        full = (toolkit.windows if windows else toolkit.linux[0]) if toolkit else None
        floor = (major.windows or major.linux) if windows else major.linux
        return DriverNeed(cuda=cuda, full=full, minimum=floor, source=toolkit.source if toolkit else major.source)

    def oldest_for_gpu(self, capability: Capability) -> Floor | None:
        return self.gpus.get(capability)

    def refuses_forward_compatibility(self, product: str) -> bool:
        """Whether a CUDA forward-compatibility library fails with error 804 on a GPU of that name."""
        return any(name.casefold() in product.casefold() for name in self.no_forward_compatibility)

    def needs_open_modules(self, capability: Capability) -> bool:
        return capability >= self.open_modules_from


def minor(version: Version) -> Version:
    """12.8 of 12.8.93."""
    return Version(f"{version.major}.{version.minor}")


def load(path: Path) -> Drivers:
    """Drivers from drivers.toml; raises BadFacts with every fault of the file."""
    table = Table.read(path)
    toolkits = {toolkit.cuda: toolkit for toolkit in map(_toolkit, table.rows("toolkit"))}
    majors = {row.name_version.major: _floor(row) for row in table.rows("major")}
    gpus = {row.name_capability: _floor(row) for row in table.rows("gpu")}
    refused = [name for row in table.rows("forward_compatibility") for name in row.words("names")]
    opened = [row.capabilities("capability") for row in table.rows("open_modules")]
    for toolkit in toolkits.values():
        if toolkit.cuda.major not in majors:
            table.fault(f"toolkit.{toolkit.cuda}", "name", f"[major] has no row {toolkit.cuda.major}")
    if not refused:
        table.fault("forward_compatibility.refused", "names", "is missing")
    if len(opened) != 1 or len(opened[0]) != 1:
        table.fault("open_modules.first", "capability", "must be one compute capability")
    table.finish()
    return Drivers(
        toolkits=toolkits,
        majors=majors,
        gpus=gpus,
        no_forward_compatibility=tuple(refused),
        open_modules_from=opened[0][0],
    )


def _toolkit(row: Row) -> Toolkit:
    linux = row.versions("linux")
    if not linux:
        row.fault("linux", "is missing")
    if list(linux) != sorted(linux):
        row.fault("linux", "updates must not ask for an older driver than the release before them")
    return Toolkit(cuda=row.name_version, linux=linux, windows=row.optional_version("windows"), source=row.source)


def _floor(row: Row) -> Floor:
    return Floor(linux=row.version("linux"), windows=row.optional_version("windows"), source=row.source)
