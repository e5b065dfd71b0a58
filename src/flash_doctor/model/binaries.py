"""What `doctor abi` says about compiled files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from flash_doctor.model.part import Part

ARCHITECTURE = re.compile(r"([0-9]{1,9})\.([0-9])([af?]?)")
"""A GPU architecture as text: major, minor, and what narrows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnresolvedSymbol:
    """A symbol that nothing in the target exports.

    `exported_by` are the torch releases that do, `releases` the same in short (2.10–2.13).
    """

    symbol: str
    demangled: str
    version: str | None
    wanted_by: str
    exported_by: tuple[Version, ...]
    releases: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaArchs:
    """Compute capabilities, as in 9.0 and 9.0a; `?` behind one says that its suffix is unreadable.

    Raises:
        ValueError: one of them is none; a report may say anything.
    """

    sass: tuple[str, ...]
    ptx: tuple[str, ...]

    def __post_init__(self) -> None:
        for text in (*self.sass, *self.ptx):
            if not ARCHITECTURE.fullmatch(text):
                shown = repr(text) if len(text) <= 40 else f"a text of {len(text)} characters"
                message = f"{shown} is no GPU architecture"
                raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedFile:
    """One shared object.

    `torch_releases` are those whose build on the package index exports all it needs (None when it needs nothing of
    torch); `built_for` says the same in words; `loads` is None where there is no torch in the target to compare
    with; `missing_libraries`, `missing_versions` (as "GLIBC_2.38 of libc.so.6") and `broken` (as "path: why")
    are against the target.
    """

    path: str
    machine: str
    links_torch: bool
    stable_torch: bool
    cxx11abi: bool | None
    torch_releases: tuple[Version, ...] | None
    built_for: str | None
    loads: bool | None
    unresolved: tuple[UnresolvedSymbol, ...]
    missing_libraries: tuple[str, ...]
    missing_versions: tuple[str, ...]
    broken: tuple[str, ...]
    cuda_archs: CudaArchs
    gpu_code: Part[str]
    needed: tuple[str, ...]
    glibc: Version | None
    glibcxx: Version | None
    python_abi: Part[str]
    fits_python: bool | None
    numpy: Part[int]

    @property
    def fails(self) -> bool:
        """Whether the target is known not to import it."""
        return self.loads is False or self.fits_python is False


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """One compiled file of the target that needs torch or brings GPU code.

    `owner` is the distribution whose RECORD lists it ("" where none does), `cuda_archs` its GPU code (Absent without
    any). `file` is what was read of it, compared with the target: Absent where only the GPU code was looked at (torch's
    own libraries, and files that need nothing of torch), Unknown where it could not be read.
    """

    path: Path
    owner: str
    cuda_archs: Part[CudaArchs]
    file: Part[InspectedFile]


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedWheel:
    """What a wheel says of itself: by its name (`tags`), and inside.

    `inner_tags` are those of its WHEEL file, `requires_torch` its requirements of torch as METADATA writes them,
    `files` the number of lines of RECORD; `bytes_read` what these took over the network.
    """

    path: str
    name: str
    version: Version
    tags: tuple[str, ...]
    inner_tags: Part[tuple[str, ...]]
    requires_torch: Part[tuple[str, ...]]
    requires_python: str
    files: Part[int]
    bytes_read: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The files that were asked for, and the target they were compared with; `torch` as installed there."""

    python: str | None
    torch: Part[Version]
    files: tuple[InspectedFile, ...]
    bytes_read: int | None = None
    wheels: tuple[InspectedWheel, ...] = ()
