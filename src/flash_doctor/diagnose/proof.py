"""What compiled files themselves prove, for the rules of several themes: beside it, what a name says is only a hint."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from flash_doctor.model import Absent, FlashAttention, Package, Packages, Torch, Unknown, known
from flash_doctor.model.binaries import CudaArchs, Extension, InspectedFile
from flash_doctor.rules.engine import CouldNotLook

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Extensions: TypeAlias = tuple[Extension, ...]
# What every build of torch has; without one of them it is torch that is damaged, and nothing can be said of others.
_CORE = {"libc10.so", "libtorch.so", "libtorch_cpu.so", "libtorch_python.so"}


def files_of(name: str, extensions: Extensions | Absent | Unknown) -> tuple[InspectedFile, ...]:
    """A package's files on which the loader's verdict is known."""
    return tuple(file for extension, file in compared(known(extensions) or ()) if extension.owner == name)


def compared(extensions: Iterable[Extension]) -> Iterator[tuple[Extension, InspectedFile]]:
    """Files that were compared with the target; those for another Python are not even looked at by an import."""
    for extension in extensions:
        file = known(extension.file)
        if file is not None and file.loads is not None and file.fits_python is not False:
            yield extension, file


def code_of(name: str, extensions: Extensions | Absent | Unknown) -> tuple[CudaArchs, ...]:
    """The GPU code of a package's files; none where one of them could not be read."""
    parts = [extension.cuda_archs for extension in known(extensions) or () if extension.owner == name]
    return () if any(isinstance(part, Unknown) for part in parts) else tuple(filter(None, map(known, parts)))


def failing(
    extensions: Extensions, flash: FlashAttention | Absent | Unknown, packages: Packages, torch: Torch
) -> dict[str, list[InspectedFile]]:
    """By owner, the files that cannot be loaded.

    A file that another tool put there counts as its package's: of flash-attn, without a RECORD.

    Raises:
        CouldNotLook: torch itself is damaged, of which T505 tells.
    """
    _whole(torch, packages)
    loose = {str(path) for path in flash.extensions} if isinstance(flash, FlashAttention) else set()
    found: dict[str, list[InspectedFile]] = {}
    for extension, file in compared(extensions):
        if not file.loads:
            owner = extension.owner or ("flash-attn" if file.path in loose else "")
            found.setdefault(owner, []).append(file)
    return found


def _whole(torch: Torch, packages: Packages) -> None:
    cuda = {"libtorch_cuda.so", "libc10_cuda.so"} if known(torch.cuda) else set()
    lost = (_CORE | cuda) - set(torch.libraries) if torch.libraries else set()
    package = packages.find("torch")
    record = known(package.record) if package else None
    damaged = [path for path in (*record.missing, *record.changed) if "/lib/" in path] if record else []
    if lost or damaged:
        message = (
            f"torch itself is damaged ({sorted(lost or damaged)[0]}, see T505): what can be loaded with it is open"
        )
        raise CouldNotLook(message)


def needs_missing_torch(file: InspectedFile) -> bool:
    """Whether a whole library of torch is missing, as for a CUDA extension under a CPU build."""
    return any(name.startswith(("libtorch", "libc10")) for name in file.missing_libraries)


def label_of(owner: str, package: Package | None, file: InspectedFile) -> str:
    """What a person calls the thing: the package with its version, else the file."""
    return f"{package.name} {package.raw_version}" if package else owner or file.path.rpartition("/")[2]
