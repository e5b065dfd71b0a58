"""X: compiled files of packages, read as the loader reads them: which cannot be loaded, and why."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from flash_doctor.abi.demangle import is_torch
from flash_doctor.diagnose import words
from flash_doctor.diagnose.flash_built import label
from flash_doctor.diagnose.proof import Extensions, compared, failing, label_of, needs_missing_torch
from flash_doctor.diagnose.registry import check
from flash_doctor.facts import Facts
from flash_doctor.model import (
    Absent,
    Family,
    FlashAttention,
    Package,
    Packages,
    Python,
    Remedy,
    Severity,
    Torch,
    Unknown,
    known,
)
from flash_doctor.rules.engine import Found
from flash_doctor.system.commands import advice, install

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packaging.version import Version

    from flash_doctor.abi.built_for import BuiltFor
    from flash_doctor.model.binaries import InspectedFile, UnresolvedSymbol

FLASH = ("flash-attn", "flash-attn-3", "flashattn-hopper")
# The day of a build as tools write it into a version: 2.9.0.dev20250901, 2.7.4+git1a2b3c.d20250901
_DAY = re.compile(r"(?:\.dev|\.d)(20\d\d)(\d\d)(\d\d)\b")
_FORMS = {True: "newer form (C++ ABI TRUE)", False: "older form (C++ ABI FALSE)"}


@check("X101", Family.EXTENSIONS)
def built_for_another_torch(
    extensions: Extensions,
    torch: Torch,
    flash: FlashAttention | Absent | Unknown,
    packages: Packages,
    python: Python,
    facts: Facts,
) -> Iterator[Found]:
    """A compiled package cannot be loaded: it was built for another torch.

    A compiled file names, one by one, the functions that it expects to find in torch. Each torch release adds, drops
    and changes some. If one is not there, the import ends in `undefined symbol: _ZN3c10…`; the rest of that word is the
    function's name in the compiler's spelling. This check looks up every name, as the system's loader would, and says
    from the names which torch releases the file was built for. It reads the files and does not trust their names.

    Check by hand: `flash-doctor abi PACKAGE`, or import it: `python -c "import torch, flash_attn_2_cuda"`.

    What to do: install the build of that package made for this torch. Do not just reinstall: pip's cache serves the
    same file again.
    """
    for owner, files in failing(extensions, flash, packages, torch).items():
        lacking = [(file, symbols) for file in files if (symbols := _lacking(file))]
        if lacking:
            found = _unresolved(owner, lacking, torch, packages, python, facts)
            yield replace(found, about=tuple(file.path for file in files))


def _lacking(file: InspectedFile) -> list[UnresolvedSymbol]:
    """The missing symbols that count: torch's, else any of them where no library is missing that may bring it."""
    if needs_missing_torch(file):
        return []
    # a symbol with a version is missing because the version is: X104
    symbols = [symbol for symbol in file.unresolved if not (symbol.version and file.missing_versions)]
    of_torch = [symbol for symbol in symbols if symbol.releases or is_torch(symbol.symbol)]
    return of_torch or ([] if file.missing_libraries else symbols)


def _unresolved(
    owner: str,
    lacking: list[tuple[InspectedFile, list[UnresolvedSymbol]]],
    torch: Torch,
    packages: Packages,
    python: Python,
    facts: Facts,
) -> Found:
    package = packages.find(owner)
    file, symbols = lacking[0]
    name = label_of(owner, package, file)
    of_torch = any(symbol.releases or is_torch(symbol.symbol) for symbol in symbols)
    built = _built_for(file, symbols, torch, package, facts) if of_torch else None
    severe = owner in FLASH or of_torch
    return Found(
        severity=Severity.ERROR if severe else Severity.WARNING,
        subject=owner or name,
        summary=f"{name} cannot be loaded: {_cause(built, torch)}",
        evidence=(
            *words.listing([_symbol(symbol, torch) for symbol in symbols], 3),
            *_built_lines(file, built),
            *_owner_lines(symbols, facts),
            *_string_lines(file, torch),
            *(f"{other.path} cannot be loaded either" for other, _ in lacking[1:3]),
            *(words.came_from(package) if package else ()),
        ),
        remedy=_another_build(owner, python, torch) if built else _NEWER_LIBRARY,
    )


def _built_for(
    file: InspectedFile, symbols: Sequence[UnresolvedSymbol], torch: Torch, package: Package | None, facts: Facts
) -> BuiltFor:
    """By all that the file needs of torch; where no release has it all, by the first symbol that is missing."""
    from flash_doctor.abi.atlas import Atlas

    releases = file.torch_releases or next((symbol.exported_by for symbol in symbols if symbol.exported_by), ())
    atlas = Atlas.open(facts.folder / "abi" / "atlas.bin")
    return atlas.built_for(releases, installed=torch.version, on=_built_on(package))


def _built_on(package: Package | None) -> datetime.date | None:
    """The day that the version itself gives. The files' own dates say when they were copied, not when built."""
    match = _DAY.search(f"{package.raw_version} {known(package.url) or ''}") if package else None
    try:
        return datetime.date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def _cause(built: BuiltFor | None, torch: Torch) -> str:
    if built is None:
        return "a function that it needs is in no library here"
    if not built.releases:
        return f"it was built for another torch than {torch.version}"
    if built.fits_installed:
        return f"this build of torch {torch.version} lacks what it needs"
    return f"built for {built.span}; here is torch {torch.version}"


def _symbol(found: UnresolvedSymbol, torch: Torch) -> str:
    meaning = f"{found.demangled} ({found.symbol})" if found.demangled != found.symbol else found.symbol
    where = f"; torch {found.releases} has it" if found.releases else ""
    return f"{found.wanted_by} needs the function {meaning}, which no library of torch {torch.version} has{where}"


def _built_lines(file: InspectedFile, built: BuiltFor | None) -> tuple[str, ...]:
    if built is None:
        return (file.path,)
    return tuple(filter(None, (f"{file.path} was {built}", built.dated)))


def _owner_lines(symbols: Sequence[UnresolvedSymbol], facts: Facts) -> tuple[str, ...]:
    """Whose a function of CUDA's libraries is, such as ncclCommShrink."""
    plain = [symbol.symbol for symbol in symbols if not symbol.symbol.startswith("_Z")]
    row = facts.complaints.library_of_symbol(plain[0]) if plain else None
    return (f"{plain[0]} belongs to {row.what}; it comes with {row.package.format(major='N')}",) if row else ()


def _string_lines(file: InspectedFile, torch: Torch) -> tuple[str, ...]:
    ours, theirs = known(torch.cxx11abi), file.cxx11abi
    if ours is None or theirs is None or ours is theirs:
        return ()
    return (f"it keeps text in C++'s {_FORMS[theirs]}, this torch in the {_FORMS[ours]}",)


_NEWER_LIBRARY = Remedy(
    text="Install the release of it, or of the library that lacks the function, that fits the other."
)


def _another_build(owner: str, python: Python, torch: Torch) -> Remedy:
    vendor = known(torch.vendor)
    if vendor:
        return Remedy(text=f"Published builds do not fit a torch of {vendor}: use what came with it, or compile here.")
    text = "Install the build of it that was made for this torch."
    if owner in FLASH:
        return words.fix(text)
    command = (install(python, owner, f"torch=={torch.version.public}"),) if owner else ()
    return advice(text, *command)


@check("X102", Family.EXTENSIONS)
def misnamed(extensions: Extensions, torch: Torch, packages: Packages) -> Iterator[Found]:
    """A wheel's file is not what its name says.

    Names such as `…cxx11abiFALSE…` tell how a wheel keeps text in memory (its C++ ABI); torch does it one way, and a
    wheel must do it the same way, or its import ends in `undefined symbol: …basic_string…` or `…Ss`. Some published
    wheels were named wrongly. This check reads from the compiled file which way it really is.

    Check by hand: `flash-doctor abi PACKAGE`.

    What to do: `flash-doctor plan` takes a wheel by what it is.
    """
    for extension, file in compared(extensions):
        package = packages.find(extension.owner)
        named = label(package) if package else None
        if package is None or named is None or named.cxx11abi in (None, file.cxx11abi) or file.cxx11abi is None:
            continue
        wrong = _misnamed(package, file, torch)
        yield Found(
            severity=Severity.ERROR if wrong else Severity.INFO,
            subject=package.name,
            summary=f"this wheel of {package.name} {package.raw_version} has another C++ ABI than its name says"
            + ("" if wrong else "; it fits this torch all the same"),
            evidence=(
                f"its name says {_abi(named.cxx11abi)}: {named.said}",
                f"{file.path}: {_abi(file.cxx11abi)}, by the functions that it needs",
                f"torch {torch.version}: {_abi(known(torch.cxx11abi))}, by {torch.location / 'lib' / 'libc10.so'}",
            ),
            about=(file.path,),
            remedy=words.fix("Install another wheel; the plan knows which one is what it says.") if wrong else None,
        )


def _misnamed(package: Package, file: InspectedFile, torch: Torch) -> bool:
    """Whether the name promises what this torch needs, and the file is the other kind."""
    named, ours = label(package), known(torch.cxx11abi)
    says = named.cxx11abi if named else None
    return None not in (says, file.cxx11abi, ours) and says is not file.cxx11abi and file.cxx11abi is not ours


def _abi(value: bool | None) -> str:
    return "not known" if value is None else f"C++ ABI {str(value).upper()}"


@check("X105", Family.EXTENSIONS)
def built_for_numpy_1(extensions: Extensions, packages: Packages, python: Python) -> Iterator[Found]:
    """A compiled package was built for numpy 1, and numpy 2 is installed.

    numpy 2 changed how compiled code reads its arrays. A file built with the headers of numpy 1 ends in `A module that
    was compiled using NumPy 1.x cannot be run in NumPy 2`, or crashes. One built with those of numpy 2 runs with both.

    Check by hand: `flash-doctor abi PACKAGE` says which headers it was built with.

    What to do: install a newer release of that package, or numpy 1.
    """
    numpy = packages.find("numpy")
    version: Version | None = known(numpy.version) if numpy else None
    if numpy is None or version is None or version.major < 2:
        return
    for owner, file in {e.owner: file for e, file in compared(extensions) if known(file.numpy) == 1}.items():
        package = packages.find(owner)
        yield Found(
            severity=Severity.ERROR,
            subject=owner or file.path,
            summary=f"{label_of(owner, package, file)} was built for numpy 1; numpy {version} is installed",
            evidence=(f"{file.path} asks for numpy.core._multiarray_umath only", words.lies_in(numpy)),
            remedy=advice("Install a newer release of it, or numpy 1.", install(python, "numpy<2")),
        )
