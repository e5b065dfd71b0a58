"""Compiled files of the target that need torch or bring GPU code: which there are, and what the loader would say.

They are found by what is in them, never by a package's name. Nothing is loaded or run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.abi.binary import read_binary
from flash_doctor.abi.buffer import mapped
from flash_doctor.abi.elf import DT_STRSZ, DT_STRTAB, TABLE_LIMIT, Elf
from flash_doctor.abi.fatbin import archs, gpu_code
from flash_doctor.errors import BadBinary
from flash_doctor.model import Absent, Torch, Unknown
from flash_doctor.model.binaries import Extension

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flash_doctor.abi.atlas import Atlas
    from flash_doctor.abi.linker import Linker
    from flash_doctor.model import Part, Python
    from flash_doctor.model.binaries import CudaArchs, InspectedFile

# An environment of everything has some thousand compiled files; beyond that something else is in its folders.
FILES_LIMIT = 5000
EXTENSIONS_LIMIT = 500
# A file built for another torch may lack thousands of symbols: the first ones tell as much.
SYMBOLS_LIMIT = 50
# Names of torch's libraries, its C++ namespaces, its Python glue and its C interface, as they stand in a string table.
_TORCH_MARKS = (b"libtorch", b"libc10", b"3c10", b"N2at", b"K2at", b"5torch", b"THP", b"aoti_torch_")
_TORCH_OWN = Absent(absent="a library of torch itself: only its GPU code is looked at")
_NOT_TORCH = Absent(absent="it needs nothing of torch: only its GPU code is looked at")
_TOO_MANY = Unknown(unknown=f"not read: more than {EXTENSIONS_LIMIT} compiled files here need torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFiles:
    """Where compiled files may be.

    `owners` names the distribution whose RECORD lists a shared object, `others` are files that no RECORD lists, and
    `dependants` the distributions that ask for torch: of these alone an unreadable file is worth a word.
    """

    owners: Mapping[Path, str]
    others: tuple[Path, ...]
    dependants: Collection[str]

    @property
    def all(self) -> Iterator[Path]:
        return iter(dict.fromkeys([*self.owners, *self.others]))

    def concerns_torch(self, path: Path) -> bool:
        return path in self.others or self.owners.get(path) in self.dependants


def read_extensions(
    python: Python, torch: Part[Torch], places: CompiledFiles, environ: Mapping[str, str]
) -> Part[tuple[Extension, ...]]:
    """Every compiled file of the target that needs torch or brings GPU code; one that is broken hides no other.

    Args:
        python: the target's interpreter.
        torch: its torch; without one, nothing is said about loading.
        places: where to look.
        environ: LD_LIBRARY_PATH and LD_PRELOAD count.
    """
    folder = torch.location if isinstance(torch, Torch) else None
    own = () if folder is None else tuple(_torch_libraries(folder / "lib"))
    paths = [path for path in places.all if folder is None or not _within(path, folder)]
    if len(paths) > FILES_LIMIT:
        return Unknown(unknown=f"there are {len(paths)} compiled files in the target, more than are looked through")
    sifted = {path: found for path in paths if (found := _sift(path, places)) is not None}
    read = _read_all(python, torch, [path for path, found in sifted.items() if found is True], environ)
    others = (
        _extension(path, places.owners.get(path, ""), found, read.get(path, _TOO_MANY))
        for path, found in sifted.items()
    )
    return (*own, *others) or Absent(absent="no compiled file here needs torch or brings GPU code")


def _within(path: Path, folder: Path) -> bool:
    return str(path).startswith(f"{folder}/")


def _extension(path: Path, owner: str, found: bool | Unknown, file: Part[InspectedFile]) -> Extension:
    """What was read of a file that needs torch (`found` is True), brings GPU code (False) or is broken."""
    if isinstance(found, Unknown):
        return Extension(path=path, owner=owner, cuda_archs=found, file=found)
    if not found:
        return Extension(path=path, owner=owner, cuda_archs=_gpu_code(path), file=_NOT_TORCH)
    return Extension(path=path, owner=owner, cuda_archs=_archs_of(file), file=file)


def _archs_of(file: Part[InspectedFile]) -> Part[CudaArchs]:
    if isinstance(file, (Absent, Unknown)):
        return file
    return file.gpu_code if isinstance(file.gpu_code, (Absent, Unknown)) else file.cuda_archs


def _torch_libraries(folder: Path) -> Iterator[Extension]:
    """Torch's own libraries with GPU code. Their symbols are not looked at: that takes longer than all the rest."""
    for path in sorted(folder.glob("*.so")):
        code = _gpu_code(path)
        if not isinstance(code, Absent):
            yield Extension(path=path, owner="torch", cuda_archs=code, file=_TORCH_OWN)


def _gpu_code(path: Path) -> Part[CudaArchs]:
    try:
        with mapped(path) as data:
            return archs(gpu_code(Elf(data, path.name)))
    except BadBinary as error:
        return Unknown(unknown=error.message)


def _sift(path: Path, places: CompiledFiles) -> bool | Unknown | None:
    """True where it needs torch, False where it only brings GPU code, None where neither: by a look at its names."""
    try:
        with mapped(path) as data:
            file = Elf(data, path.name)
            if _names_torch(file):
                return True
            return False if file.section(".nv_fatbin") else None
    except BadBinary as error:
        # packages bring files for other machines, too; a missing one is told by RECORD
        return Unknown(unknown=error.message) if places.concerns_torch(path) and path.exists() else None


def _names_torch(file: Elf) -> bool:
    start, size = file.table(DT_STRTAB), file.entry(DT_STRSZ) or 0
    if start is None:
        return False
    names = file.read(start, min(size, TABLE_LIMIT))
    return any(mark in names for mark in _TORCH_MARKS)


def _read_all(
    python: Python, torch: Part[Torch], paths: Sequence[Path], environ: Mapping[str, str]
) -> dict[Path, Part[InspectedFile]]:
    if not paths:
        return {}
    # half of the room of readers, which an environment without such a file does without
    from flash_doctor.abi.atlas import Atlas
    from flash_doctor.abi.linker import open_linker

    atlas = Atlas.open()
    if not isinstance(torch, Torch):
        return {path: _read(path, python, None, atlas, None) for path in paths[:EXTENSIONS_LIMIT]}
    with open_linker(python.executable, torch.location / "lib", environ) as linker:
        return {path: _read(path, python, torch, atlas, linker) for path in paths[:EXTENSIONS_LIMIT]}


def _read(path: Path, python: Python, torch: Torch | None, atlas: Atlas, linker: Linker | None) -> Part[InspectedFile]:
    from flash_doctor.abi.inspection import inspect

    try:
        binary = read_binary(path)
        if not binary.links_torch:
            return _NOT_TORCH
        linkage = linker.link(path, binary.wanted) if linker else None
    except BadBinary as error:
        return Unknown(unknown=error.message)
    installed = torch.version if torch else None
    file = inspect(binary, str(path), atlas, linkage=linkage, installed=installed, python_abi=python.abi)
    return replace(file, unresolved=file.unresolved[:SYMBOLS_LIMIT])
