"""C: packages that accept only some flash-attn, numpy or CUDA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from flash_doctor.diagnose import words
from flash_doctor.diagnose.registry import check
from flash_doctor.facts import Facts
from flash_doctor.model import Family, Finding, Package, Packages, Python, Severity, Torch, known
from flash_doctor.system.commands import PLAN, advice, command, install, pip

if TYPE_CHECKING:
    from packaging.version import Version

    from flash_doctor.facts.companions import FlashWindow


@check("C707", Family.COMPANIONS)
def flash_window(packages: Packages, variables: Mapping[str, str], facts: Facts, python: Python) -> Iterator[Finding]:
    """A package does not accept this version of flash-attn.

    xformers and Transformer Engine hold a fixed range of flash-attn versions that they were tested with. xformers
    stops at the import with `Requires Flash-Attention version >=…,<=… but got …`, and whoever imported xformers
    (diffusers, for instance) gets the blame; others quietly use a slower attention.

    Check by hand: `python -c "import xformers.ops"`.

    What to do: take a flash-attn in the named range, or a newer release of that package.
    """
    flash = packages.find("flash-attn")
    version = known(flash.version) if flash else None
    for name in sorted({row.package for row in facts.companions.flash_windows}):
        package = packages.find(name)
        found = known(package.version) if package else None
        window = facts.companions.flash_window(name, found) if found else None
        if flash and package and version and window and not _admitted(window, version, variables):
            yield _outside(window, package, flash, python, packages.find("torch"))


def _admitted(window: FlashWindow, version: Version, variables: Mapping[str, str]) -> bool:
    name, _, value = window.bypass.partition("=")
    return window.admits(version) or (bool(name) and variables.get(name) == value)


def _outside(window: FlashWindow, package: Package, flash: Package, python: Python, torch: Package | None) -> Finding:
    keep = (f"torch=={torch.raw_version}",) if torch else ()  # or pip would bring the newest torch along
    accepted = f"flash-attn>={window.first},<{window.below}"
    return Finding(
        code="C707",
        severity=Severity.ERROR if window.fatal else Severity.WARNING,
        subject=package.name,
        summary=f"{package.name} {package.raw_version} does not accept flash-attn {flash.raw_version}"
        + (": its import fails" if window.fatal else ": it falls back to a slower attention"),
        evidence=(f"it accepts {accepted} ({window.source})", words.lies_in(package), words.lies_in(flash)),
        remedy=advice(
            "Take a flash-attn in that range, or a newer release of the package"
            + (f"; {window.bypass} switches the test off at your own risk." if window.bypass else "."),
            PLAN,
            install(python, f"{package.name}>{package.raw_version.partition('+')[0]}", *keep),
        ),
    )


@check("C708", Family.COMPANIONS)
def numpy_generation(packages: Packages, torch: Torch, facts: Facts, python: Python) -> Iterator[Finding]:
    """This torch cannot speak with numpy 2.

    torch up to a certain release was compiled for numpy 1. With numpy 2 it prints `A module that was compiled using
    NumPy 1.x cannot be run in NumPy 2`, and `torch.from_numpy` and data loaders end in `RuntimeError: Numpy is not
    available`.

    Check by hand: `python -c "import torch; torch.ones(1).numpy()"`.

    What to do: install a numpy below 2, or a newer torch.
    """
    numpy = packages.find("numpy")
    version = known(numpy.version) if numpy else None
    if numpy and version and version.major >= 2 and not facts.torch.speaks_numpy2(torch.version):
        yield Finding(
            code="C708",
            severity=Severity.ERROR,
            subject="numpy",
            summary=f"torch {torch.version} was compiled for numpy 1, but numpy {version} is installed",
            evidence=(words.lies_in(numpy), f"the first torch for numpy 2 is {facts.torch.numpy2_from}"),
            remedy=advice("Install a numpy below 2.", install(python, "numpy<2")),
        )


@check("C709", Family.COMPANIONS)
def bitsandbytes(
    packages: Packages, torch: Torch, variables: Mapping[str, str], facts: Facts, python: Python
) -> Iterator[Finding]:
    """bitsandbytes has no library for this torch's CUDA.

    bitsandbytes brings one compiled library for each CUDA version and takes the one that torch was built with, or the
    one that the variable BNB_CUDA_VERSION names. Without it 8-bit optimizers and 4-bit loading (QLoRA) end in `CUDA
    Setup failed` or `libbitsandbytes_cuda….so not found`.

    Check by hand: `python -m bitsandbytes`.

    What to do: install a bitsandbytes that brings the library; unset BNB_CUDA_VERSION.
    """
    package, cuda = packages.find("bitsandbytes"), known(torch.cuda)
    version = known(package.version) if package else None
    if package is None or version is None or cuda is None:
        return
    row = facts.quirks.bitsandbytes_libraries(version)
    forced = variables.get("BNB_CUDA_VERSION", "")
    evidence = []
    if forced and forced != f"{cuda.major}{cuda.minor}":
        evidence.append(f"BNB_CUDA_VERSION={forced}, this torch is built with CUDA {cuda}")
    if row and not forced and not row.serves(cuda):
        has = ", ".join(str(known_cuda) for known_cuda in row.cuda[-4:])
        evidence.append(f"it brings libraries for CUDA … {has}; torch is built with {cuda} ({row.source})")
    if package.location.suffix == ".egg":
        evidence.append(f"{package.location} was made by setup.py: its compiled library is not part of the package")
    if evidence:
        yield Finding(
            code="C709",
            severity=Severity.WARNING,
            subject="bitsandbytes",
            summary=f"bitsandbytes {package.raw_version} does not use a library for this torch's CUDA {cuda}",
            evidence=(words.lies_in(package), *evidence),
            remedy=advice(
                "Install a release that brings the library, and leave the choice to it.",
                command("unset BNB_CUDA_VERSION"),
                pip(python, "install --upgrade bitsandbytes"),
            ),
        )
