"""From a binary, the atlas and the loader's verdict to one value for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from flash_doctor.abi.built_for import plain_release
from flash_doctor.abi.demangle import demangle
from flash_doctor.abi.fatbin import GpuCode, archs
from flash_doctor.errors import BadBinary, BadInput
from flash_doctor.model import Absent, Unknown, known
from flash_doctor.model.binaries import CudaArchs, InspectedFile, InspectedWheel, UnresolvedSymbol

if TYPE_CHECKING:
    from collections.abc import Callable

    from packaging.version import Version

    from flash_doctor.abi.atlas import Atlas
    from flash_doctor.abi.binary import Binary
    from flash_doctor.abi.linker import Linkage, Unresolved
    from flash_doctor.abi.wheel import OpenedWheel

T = TypeVar("T")


def inspect(
    binary: Binary,
    path: str,
    atlas: Atlas,
    *,
    linkage: Linkage | None,
    installed: Version | None,
    python_abi: str | None,
) -> InspectedFile:
    """Everything there is to say about one file, which the user calls `path`.

    `linkage` is the loader's verdict in the target (None: nothing to compare with), `installed` the target's torch,
    `python_abi` its ABI tag (cp312).
    """
    # some releases export parts of the C++ library along: only a file that links torch is asked about
    releases = atlas.releases_exporting_all(map(str, binary.wanted)) if binary.links_torch else None
    built_for = None if releases is None else str(atlas.built_for(releases, installed=installed))
    return InspectedFile(
        path=path,
        machine=binary.machine,
        links_torch=binary.links_torch,
        stable_torch=binary.stable_torch,
        cxx11abi=binary.cxx11abi,
        torch_releases=releases,
        built_for=built_for,
        loads=linkage.loads if linkage else None,
        unresolved=_all_unresolved(linkage, atlas, installed),
        missing_libraries=tuple(missing.name for missing in linkage.missing_libraries) if linkage else (),
        missing_versions=_missing_versions(linkage),
        broken=tuple(f"{broken.path}: {broken.why}" for broken in linkage.broken) if linkage else (),
        cuda_archs=known(archs(binary.gpu_code)) or CudaArchs(sass=(), ptx=()),
        gpu_code=str(binary.gpu_code) if isinstance(binary.gpu_code, GpuCode) else binary.gpu_code,
        needed=binary.needed,
        glibc=binary.glibc,
        glibcxx=binary.glibcxx,
        python_abi=binary.python_abi,
        fits_python=binary.fits_python(python_abi) if python_abi else None,
        numpy=binary.numpy if isinstance(binary.numpy, (Absent, Unknown)) else binary.numpy.value,
    )


def _all_unresolved(linkage: Linkage | None, atlas: Atlas, installed: Version | None) -> tuple[UnresolvedSymbol, ...]:
    """First those that this release of torch lacks; the others are in a library of it that is missing."""
    release = plain_release(installed) if installed else None
    symbols = [_unresolved(symbol, atlas) for symbol in linkage.unresolved] if linkage else []
    return tuple(sorted(symbols, key=lambda symbol: release in symbol.exported_by))


def _unresolved(found: Unresolved, atlas: Atlas) -> UnresolvedSymbol:
    age = None if found.version else atlas.explain_symbol(found.symbol)
    return UnresolvedSymbol(
        symbol=found.symbol,
        demangled=demangle(found.symbol),
        version=found.version,
        wanted_by=found.wanted_by,
        exported_by=age.exported_by if age else (),
        releases=age.ranges if age and age.of_torch else "",
    )


def _missing_versions(linkage: Linkage | None) -> tuple[str, ...]:
    missing = linkage.missing_versions if linkage else ()
    return tuple(f"{version.version} of {version.library}" for version in missing)


def describe(wheel: OpenedWheel, path: str) -> InspectedWheel:
    """What a wheel says of itself; a part of it that is damaged or missing is Unknown."""
    requires = _or_unknown(lambda: tuple(str(line) for line in wheel.metadata.get_all("Requires-Dist", [])))
    python = _or_unknown(lambda: str(wheel.metadata.get("Requires-Python", "")))
    return InspectedWheel(
        path=path,
        name=wheel.project,
        version=wheel.version,
        tags=tuple(sorted(map(str, wheel.tags))),
        inner_tags=_or_unknown(lambda: tuple(sorted(map(str, wheel.metadata_tags)))),
        requires_torch=requires if isinstance(requires, Unknown) else tuple(filter(_asks_torch, requires)),
        requires_python=known(python) or "",
        files=_or_unknown(lambda: len(wheel.record)),
    )


def _asks_torch(requirement: str) -> bool:
    return re.match(r"torch(?![\w.-])", requirement) is not None


def _or_unknown(read: Callable[[], T]) -> T | Unknown:
    try:
        return read()
    except (BadInput, BadBinary) as error:
        return Unknown(unknown=error.message)
