"""What a version of FlashAttention can do, as far as `doctor verify` asks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.facts.loading import Row, Source, Table
from flash_doctor.model import Capability

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadDims:
    """Head dimensions with a backward pass: of one distribution, from a version on, on some GPUs (empty: on all)."""

    dist: str
    dims: tuple[int, ...]
    first: Version | None
    gpus: tuple[Capability, ...]
    source: Source

    def holds(self, version: Version | None, gpus: Iterable[Capability]) -> bool:
        new_enough = self.first is None or (version is not None and version >= self.first)
        return new_enough and (not self.gpus or set(gpus) <= set(self.gpus))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flash:
    """flash.toml."""

    rows: tuple[HeadDims, ...]
    needs: Mapping[str, tuple[str, ...]]

    def build_needs(self, dist: str) -> tuple[str, ...]:
        """Distributions that its setup.py imports beside torch; setuptools' own where it is not known."""
        return self.needs.get(dist, ("setuptools", "wheel", "ninja", "packaging"))

    def head_dims(self, dist: str, version: Version | None, gpus: Iterable[Capability]) -> tuple[int, ...]:
        """Head dimensions that can be run forward and backward, smallest first; one that is safe to ask at least."""
        seen = tuple(gpus)
        dims = {dim for row in self.rows if row.dist == dist and row.holds(version, seen) for dim in row.dims}
        return tuple(sorted(dims)) or (64,)


def load(path: Path) -> Flash:
    """Flash from flash.toml; raises BadFacts with every fault of the file."""
    table = Table.read(path)
    rows = tuple(map(_row, table.rows("head_dims")))
    needs = {row.name: _needs(row) for row in table.rows("build")}
    table.finish()
    return Flash(rows=rows, needs=needs)


def _needs(row: Row) -> tuple[str, ...]:
    return row.words("needs")


def _row(row: Row) -> HeadDims:
    words = row.text("dims").split()
    if not all(word.isdecimal() for word in words):
        row.fault("dims", "must be numbers")
    return HeadDims(
        dist=row.text("dist"),
        dims=tuple(int(word) for word in words if word.isdecimal()),
        first=row.optional_version("first"),
        gpus=row.capabilities("gpus"),
        source=row.source,
    )
