"""Which driver a CUDA build needs: never "which CUDA a driver can", which gives false alarms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from packaging.version import Version

from flash_doctor.facts.kinds import NAME, Versions
from flash_doctor.facts.loading import Source, TableSection
from flash_doctor.model import Capability


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
class CudaRelease:
    """One CUDA release: the oldest drivers of its first release (`linux[0]`, `windows`) and of its updates."""

    cuda: Annotated[Version, NAME]
    linux: Versions
    windows: Version | None
    source: Source

    def faults(self) -> Iterator[tuple[str, str]]:
        if list(self.linux) != sorted(self.linux):
            yield "linux", "updates must not ask for an older driver than the release before them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The oldest driver for something other than one CUDA release."""

    linux: Version
    windows: Version | None
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """drivers.toml: CUDA releases, major versions, floors per GPU, and where forward compatibility is refused."""

    toolkits: Annotated[Mapping[Version, CudaRelease], TableSection("toolkit")]
    majors: Annotated[Mapping[int, Floor], TableSection("major")]
    gpus: Annotated[Mapping[Capability, Floor], TableSection("gpu")]
    no_forward_compatibility: Annotated[frozenset[str], TableSection("forward_compatibility", column="names")]
    open_modules_from: Annotated[Capability, TableSection("open_modules", column="capability")]

    def faults(self) -> Iterator[tuple[str, str, str]]:
        for cuda in self.toolkits:
            if cuda.major not in self.majors:
                yield f"toolkit.{cuda}", "name", f"[major] has no row {cuda.major}"

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
