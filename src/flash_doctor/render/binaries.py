"""What `doctor abi` found, as styled lines: one block for each file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.model import Absent, Unknown
from flash_doctor.render.text import BLANK, MAX_EVIDENCE, Line, Span, Style, shortened, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.model import Part
    from flash_doctor.model.binaries import InspectedFile, InspectedWheel, Inspection, UnresolvedSymbol

_STRINGS = {True: "std::string of C++11", False: "std::string from before C++11 (_GLIBCXX_USE_CXX11_ABI=0)"}


def inspection_lines(inspection: Inspection) -> Iterator[Line]:
    for wheel in inspection.wheels:
        yield Line((span(wheel.path, Style.STRONG),))
        yield from _wheel(wheel)
        yield BLANK
    for file in inspection.files:
        yield Line((span(file.path, Style.STRONG),))
        yield from _facts(file)
        yield from _verdict(file)
        yield BLANK
    if not inspection.files:
        yield Line((Span("No compiled file in it.", Style.DIM),))
        yield BLANK
    if inspection.bytes_read:
        yield Line((Span(f"Read {inspection.bytes_read:,} bytes over the network.", Style.DIM),))
    torch = inspection.torch
    having = f"torch {torch}" if isinstance(torch, Version) else "no torch that could be read"
    yield Line((span(f"Compared with {inspection.python}: {having}.", Style.DIM),))


def _wheel(wheel: InspectedWheel) -> Iterator[Line]:
    yield _row("wheel", f"{wheel.name} {wheel.version} for {', '.join(wheel.tags)}")
    inner = wheel.inner_tags
    if isinstance(inner, (Absent, Unknown)):
        yield _row("", f"its WHEEL file: {_part(inner)}")
    elif inner != wheel.tags:
        yield _row("", f"its WHEEL file says {', '.join(inner)}")
    if isinstance(wheel.requires_torch, tuple) and wheel.requires_torch:
        yield _row("asks for", ", ".join(wheel.requires_torch))
    if wheel.bytes_read:
        yield _row("", f"its name, METADATA and RECORD took {wheel.bytes_read:,} bytes")


def _facts(file: InspectedFile) -> Iterator[Line]:
    yield _row("torch", file.built_for or "needs nothing of torch")
    if file.stable_torch:
        yield _row("", "uses torch's stable C interface only, which later releases keep")
    if file.cxx11abi is not None:
        yield _row("C++ strings", _STRINGS[file.cxx11abi])
    yield _row("GPU code", _part(file.gpu_code))
    yield _row("Python", _part(file.python_abi))
    if not isinstance(file.numpy, Absent):
        yield _row("numpy", _numpy(file.numpy))
    needs = [f"glibc {file.glibc}"] if file.glibc else []
    needs += [f"GLIBCXX {file.glibcxx}"] if file.glibcxx else []
    yield _row("needs", ", ".join([*needs, *file.needed]) or "no library")


def _row(name: str, text: str, style: Style = Style.PLAIN) -> Line:
    return Line((span(f"{name:<12}", Style.DIM), span(text, style)), first="  ", rest=" " * 14)


def _part(part: Part[str]) -> str:
    if isinstance(part, Absent):
        return f"none ({part.absent})"
    return f"not known: {part.unknown}" if isinstance(part, Unknown) else part


def _numpy(part: Part[int]) -> str:
    if isinstance(part, (Absent, Unknown)):
        return _part(part)
    return f"built with the headers of numpy {part}" + ("; fails under numpy 2" if part == 1 else "")


def _verdict(file: InspectedFile) -> Iterator[Line]:
    if file.fails:
        yield _row("loads", "no", Style.BAD)
    elif file.loads:
        yield _row("loads", "yes, every library and symbol is found", Style.GOOD)
    else:
        yield _row("loads", "not compared: the target has no torch", Style.WARN)
    if file.fits_python is False:
        yield _evidence(f"its name says {_part(file.python_abi)}, which the target's Python does not look for")
    for library in file.missing_libraries:
        yield _evidence(f"library {library} is not found")
    for version in file.missing_versions:
        yield _evidence(f"version {version} is not there: the system is older than the one it was built on")
    for broken in file.broken:
        yield _evidence(broken)
    for text in shortened([_symbol(symbol) for symbol in file.unresolved], MAX_EVIDENCE):
        yield _evidence(text)


def _symbol(found: UnresolvedSymbol) -> str:
    name = found.symbol + (f"@{found.version}" if found.version else "")
    meaning = f" ({found.demangled})" if found.demangled != found.symbol else ""
    where = f"; in torch {found.releases}" if found.releases else ""
    return f"undefined symbol {name}{meaning}{where}"


def _evidence(text: str) -> Line:
    return Line((span(text, Style.DIM),), first="    - ", rest="      ")
