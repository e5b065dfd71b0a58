"""X: what compiled files need beside torch: shared libraries, the system's C libraries, and to be whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flash_doctor.diagnose import words
from flash_doctor.diagnose.proof import Extensions, failing, label_of, needs_missing_torch
from flash_doctor.diagnose.registry import check
from flash_doctor.facts import Facts
from flash_doctor.model import (
    Absent,
    Family,
    FlashAttention,
    Host,
    Package,
    Packages,
    Python,
    Remedy,
    Severity,
    Torch,
    Unknown,
    known,
)
from flash_doctor.rules import explains
from flash_doctor.rules.engine import Found
from flash_doctor.system.commands import advice, install
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from flash_doctor.model.binaries import Extension, InspectedFile

_FLASH = ("flash-attn", "flash-attn-3", "flashattn-hopper")
# The driver brings these; without a driver (a login node) that is no fault of the package, and D rules tell it.
_DRIVER = ("libcuda.so", "libnvidia-ml.so")
# Libraries whose number is CUDA's major version.
_CUDA = re.compile(r"(?:libcudart|libcublas|libnvrtc)\.so\.(\d+)$")
_SYSTEM = ("GLIBC_", "GLIBCXX_", "CXXABI_", "GCC_")


@check("X103", Family.EXTENSIONS)
def library_missing(
    extensions: Extensions,
    torch: Torch,
    flash: FlashAttention | Absent | Unknown,
    packages: Packages,
    python: Python,
    facts: Facts,
) -> Iterator[Found]:
    """A compiled package needs a shared library that is not there.

    A compiled file names the libraries that must be loaded with it, with their major version: `libcudart.so.12` is the
    runtime of CUDA 12. Where one is nowhere to be found, the import ends in `cannot open shared object file`. Most
    often the package was built for another CUDA than torch, or for a CUDA build while torch is the CPU build.

    Check by hand: `flash-doctor abi PACKAGE`.

    What to do: install the build for this torch's CUDA, or the package that brings the library.
    """
    found = failing(extensions, flash, packages, torch)
    cpu_build = isinstance(torch.cuda, Absent)
    wanting = {owner: files for owner, files in found.items() if cpu_build and any(map(needs_missing_torch, files))}
    if wanting:
        yield _wants_cuda(wanting, packages, torch)
    for owner, files in found.items():
        names = {extension.path.name for extension in extensions if extension.owner == owner}
        lacking = [(file, missing) for file in files if (missing := _missing(file, names))]
        if lacking and owner not in wanting:
            yield _library(owner, packages.find(owner), lacking, torch, python, facts)


def _missing(file: InspectedFile, siblings: set[str]) -> list[str]:
    """What nobody brings: not the driver's libraries, nor those that the package itself loads first."""
    return [name for name in file.missing_libraries if name not in siblings and not name.startswith(_DRIVER)]


def _cuda_family(missing: list[str], facts: Facts) -> bool:
    return any(facts.complaints.library_of_file(name) for name in missing)


def _wants_cuda(wanting: dict[str, list[InspectedFile]], packages: Packages, torch: Torch) -> Found:
    """One cause, however many packages it breaks."""
    names = [label_of(owner, packages.find(owner), files[0]) for owner, files in wanting.items()]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return Found(
        severity=Severity.WARNING,
        subject="torch",
        summary=f"{names[0]}{more} cannot be loaded: torch {torch.version} is the CPU build, without the part for GPUs",
        evidence=(
            f"{torch.location / 'lib'} has no libtorch_cuda.so",
            *words.listing(
                f"{files[0].path} needs {', '.join(files[0].missing_libraries[:3])}" for files in wanting.values()
            ),
        ),
        about=(explains.BUILD_WITHOUT_CUDA, *(file.path for files in wanting.values() for file in files)),
        remedy=words.fix("Install a CUDA build of torch where they are to be used.", allow=("torch",)),
    )


def _library(
    owner: str,
    package: Package | None,
    lacking: list[tuple[InspectedFile, list[str]]],
    torch: Torch,
    python: Python,
    facts: Facts,
) -> Found:
    file, missing = lacking[0]
    cuda = known(torch.cuda)
    built = {int(match[1]) for name in missing if (match := _CUDA.match(name))}
    other = sorted(built - {cuda.major}) if cuda else []
    name = label_of(owner, package, file)
    of_cuda = _cuda_family(missing, facts)
    optional = not of_cuda and owner not in _FLASH
    cause = f"needs {missing[0]}, which is not there"
    if other:
        cause = f"is built for CUDA {other[0]}; torch {torch.version} brings CUDA {cuda}"
    return Found(
        severity=Severity.INFO if optional else Severity.ERROR if owner in _FLASH or other else Severity.WARNING,
        subject=owner or name,
        summary=f"a part of {name} {cause}" if optional else f"{name} cannot be loaded: it {cause}",
        evidence=(
            *(f"{each.path} needs {', '.join(names)}" for each, names in lacking[:3]),
            *(_brought(name, facts) for name in missing[:3]),
            *(words.came_from(package) if package else ()),
        ),
        about=(*(each.path for each, _ in lacking), *((explains.TORCH_LIBRARIES,) if of_cuda else ())),
        remedy=_remedy(owner, other, missing, python, facts),
    )


def _brought(name: str, facts: Facts) -> str:
    row = facts.complaints.library_of_file(name)
    if row is None:
        return f"{name} comes with no package that the doctor knows: it is the system's, or an optional part's"
    return f"{name} is {row.what}; it comes with {_package(name, facts)}"


def _package(name: str, facts: Facts) -> str:
    row = facts.complaints.library_of_file(name)
    major = name.partition(".so.")[2].partition(".")[0]
    return row.package.format(major=major or "N") if row else ""


def _remedy(owner: str, other: list[int], missing: list[str], python: Python, facts: Facts) -> Remedy | None:
    if other:
        text = "Install its build for this torch's CUDA."
        return words.fix(text) if owner in _FLASH else Remedy(text=text)
    package = re.match(r"nvidia-[\w-]+", _package(missing[0], facts))
    if package is None:
        return Remedy(text=f"Install what brings {missing[0]}, if you use that part.")
    return advice(f"Install the package that brings {missing[0]}.", install(python, package[0]))


@check("X104", Family.EXTENSIONS)
def system_too_old(
    extensions: Extensions,
    torch: Torch,
    flash: FlashAttention | Absent | Unknown,
    packages: Packages,
    host: Host,
) -> Iterator[Found]:
    """A compiled package needs a newer system than this one.

    Programs use the system's C library (glibc) and C++ library (libstdc++), and note which version of them they need:
    `GLIBC_2.32` is glibc 2.32 of the year 2020. On an older system the import ends in ``version `GLIBC_2.32' not
    found``. No Python package can bring a newer glibc. A newer libstdc++ can come with conda, where an old one often
    hides the system's.

    Check by hand: `ldd --version` prints the system's glibc.

    What to do: take a wheel built on an older system, compile the package here, or use a newer system or container.
    """
    for owner, files in failing(extensions, flash, packages, torch).items():
        file = next((file for file in files if file.missing_versions), None)
        if file is None:
            continue
        package = packages.find(owner)
        wanted = file.missing_versions[0]
        system = wanted.startswith(_SYSTEM)
        why = "needs a newer system" if wanted.startswith("GLIBC_") else "finds another library than it needs"
        yield Found(
            severity=Severity.ERROR if owner in _FLASH or system else Severity.WARNING,
            subject=owner or file.path,
            summary=f"{label_of(owner, package, file)} {why}: {wanted} is not there",
            evidence=(
                *(f"{file.path} needs {version}" for version in file.missing_versions[:3]),
                f"this system: {host.distribution}, {_libc(host)}",
            ),
            about=tuple(each.path for each in files),
            remedy=words.fix("Install a wheel built on an older system, or compile it here.", allow=("build",))
            if owner in _FLASH
            else Remedy(text="Install a build made on an older system, or compile it here."),
        )


def _libc(host: Host) -> str:
    libc = known(host.libc)
    return f"{libc.name} {libc.version}" if libc else "C library not known"


@check("X107", Family.EXTENSIONS)
def damaged(extensions: Extensions, packages: Packages) -> Iterator[Found]:
    """A compiled file is damaged.

    The file is there, but it is no library that this machine could load: cut off by a full disk, overwritten, or made
    for another kind of processor. The import ends in `invalid ELF header` or `file too short`.

    Check by hand: `file PATH` and `ls -l PATH`.

    What to do: install the package again, without pip's cache.
    """
    for extension in extensions:
        package = packages.find(extension.owner)
        why = _why_broken(extension)
        if why and extension.owner != "torch":
            yield Found(
                severity=Severity.ERROR if extension.owner in _FLASH else Severity.WARNING,
                subject=extension.owner or extension.path.name,
                summary=f"{extension.path.name} of {extension.owner or 'no package'} is damaged or of another kind",
                evidence=(cut(f"{extension.path}: {why}", 500), *(words.came_from(package) if package else ())),
                about=(str(extension.path),),
                remedy=Remedy(text="Install it again without the installer's cache."),
            )


def _why_broken(extension: Extension) -> str:
    """Why the file, or a library that it brings in, cannot be read; empty where all can."""
    if isinstance(extension.file, Unknown):
        return extension.file.unknown
    return "" if isinstance(extension.file, Absent) else next(iter(extension.file.broken), "")
