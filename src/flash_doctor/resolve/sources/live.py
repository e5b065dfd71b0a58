"""`wheel_matrix/wheels/sources.toml`: source distributions, neighbours, the last resort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.facts.loading import Row, Source, Table

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDistribution:
    """What can be compiled: its versions, oldest first, and what they require to run."""

    versions: tuple[Version, ...]
    requires: tuple[str, ...]
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildCost:
    """Processor minutes for one GPU architecture."""

    core_minutes: int
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class SameSymbols:
    """torch minor releases whose landmark symbols agree, for one C++ ABI."""

    torch: tuple[Version, ...]
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

    sdists: Mapping[str, SourceDistribution]
    costs: Mapping[str, BuildCost]
    same_symbols: tuple[SameSymbols, ...]
    kernels: KernelBuilds


def load_live(path: Path) -> Live:
    """Live from sources.toml; raises BadFacts with every fault of the file."""
    table = Table.read(path)
    sdists = {row.name: _sdist(row) for row in table.rows("sdist")}
    costs = {
        row.name: BuildCost(core_minutes=row.number("core_minutes"), source=row.source) for row in table.rows("cost")
    }
    if sdists.keys() != costs.keys():
        table.fault("cost", "name", "[sdist] and [cost] name the same packages")
    symbols = tuple(
        SameSymbols(torch=row.versions("torch"), cxx11abi=row.flag("cxx11abi"), source=row.source)
        for row in table.rows("same_symbols")
    )
    kernels = [_kernels(row) for row in table.rows("kernels")]
    if len(kernels) != 1:
        table.fault("kernels", "name", "must be one row")
    table.finish()
    return Live(sdists=sdists, costs=costs, same_symbols=symbols, kernels=kernels[0])


def _sdist(row: Row) -> SourceDistribution:
    versions = row.versions("versions")
    if list(versions) != sorted(versions) or not versions:
        row.fault("versions", "must be there, oldest first")
    return SourceDistribution(versions=versions, requires=row.words("requires"), source=row.source)


def _kernels(row: Row) -> KernelBuilds:
    first, last = row.version("first"), row.version("last")
    return KernelBuilds(repository=row.text("repository"), first=first, last=last, source=row.source)
