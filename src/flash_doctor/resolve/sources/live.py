"""`wheel_matrix/wheels/sources.toml`: source distributions, neighbours, the last resort."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from packaging.version import Version

from flash_doctor.facts import loading
from flash_doctor.facts.kinds import Versions
from flash_doctor.facts.loading import Source, TableSection

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDistribution:
    """What can be compiled: its versions, oldest first, and what they require to run."""

    versions: Versions
    requires: tuple[str, ...]
    source: Source

    def faults(self) -> Iterator[tuple[str, str]]:
        if list(self.versions) != sorted(self.versions):
            yield "versions", "must be there, oldest first"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildCost:
    """Processor minutes for one GPU architecture."""

    core_minutes: int
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class SameSymbols:
    """torch minor releases whose landmark symbols agree, for one C++ ABI."""

    torch: Versions
    cxx11abi: bool
    source: Source

    def joins(self, one: tuple[int, int], other: tuple[int, int]) -> bool:
        minors = {(version.major, version.minor) for version in self.torch}
        return one in minors and other in minors


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelBuilds:
    """torch minors (first to last) for which the `kernels` package finds a build in `repository`."""

    repository: str
    first: Version
    last: Version
    source: Source

    def covers(self, torch: Version) -> bool:
        return (self.first.major, self.first.minor) <= (torch.major, torch.minor) <= (self.last.major, self.last.minor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """sources.toml."""

    sdists: Annotated[Mapping[str, SourceDistribution], TableSection("sdist")]
    costs: Annotated[Mapping[str, BuildCost], TableSection("cost")]
    same_symbols: Annotated[tuple[SameSymbols, ...], TableSection("same_symbols")]
    kernels: Annotated[KernelBuilds, TableSection("kernels")]

    def faults(self) -> Iterator[tuple[str, str, str]]:
        if self.sdists.keys() != self.costs.keys():
            yield "cost", "name", "[sdist] and [cost] name the same packages"


def load_live(path: Path) -> Live:
    """Live from sources.toml; raises BadFacts with every fault of the file."""
    return loading.load(Live, path)
