"""The loader's verdict on one extension, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingLibrary:
    """A library that no searched place has; `searched` are the folders, in their order."""

    name: str
    wanted_by: str
    searched: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingVersion:
    """A symbol version that the library that was found does not define: most often a glibc that is too old."""

    version: str
    library: str
    path: Path
    wanted_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """A symbol that nothing in the scope exports."""

    symbol: str
    version: str | None
    wanted_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLibrary:
    """A library that was found and cannot be loaded."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    name: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Linkage:
    """The loader's verdict. With a library missing, its symbols are among the unresolved ones."""

    missing_libraries: tuple[MissingLibrary, ...]
    missing_versions: tuple[MissingVersion, ...]
    unresolved: tuple[Unresolved, ...]
    broken: tuple[BrokenLibrary, ...]
    libraries: tuple[Resolved, ...]

    @property
    def loads(self) -> bool:
        return not (self.missing_libraries or self.missing_versions or self.unresolved or self.broken)
