"""What a version of FlashAttention can do, as far as `doctor verify` asks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from packaging.version import Version

from flash_doctor.facts.kinds import SPLIT, Capabilities
from flash_doctor.facts.loading import Source, TableSection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flash_doctor.model import Capability


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadDims:
    """Head dimensions with a backward pass: of one distribution, from a version on, on some GPUs (empty: on all)."""

    dist: str
    dims: Annotated[tuple[int, ...], SPLIT]
    first: Version | None
    gpus: Capabilities = ()
    source: Source

    def holds(self, version: Version | None, gpus: Iterable[Capability]) -> bool:
        new_enough = self.first is None or (version is not None and version >= self.first)
        return new_enough and (not self.gpus or set(gpus) <= set(self.gpus))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flash:
    """flash.toml."""

    rows: Annotated[tuple[HeadDims, ...], TableSection("head_dims")]
    needs: Annotated[Mapping[str, tuple[str, ...]], TableSection("build", column="needs")]

    def build_needs(self, dist: str) -> tuple[str, ...]:
        """Distributions that its setup.py imports beside torch; setuptools' own where it is not known."""
        return self.needs.get(dist, ("setuptools", "wheel", "ninja", "packaging"))

    def head_dims(self, dist: str, version: Version | None, gpus: Iterable[Capability]) -> tuple[int, ...]:
        """Head dimensions that can be run forward and backward, smallest first; one that is safe to ask at least."""
        seen = tuple(gpus)
        dims = {dim for row in self.rows if row.dist == dist and row.holds(version, seen) for dim in row.dims}
        return tuple(sorted(dims)) or (64,)
