"""What one compiled extension was built for, as one value; nothing of it is loaded or run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from packaging.version import Version

from flash_doctor.abi.buffer import Buffer, mapped
from flash_doctor.abi.demangle import cxx11_strings, is_c_shim, is_torch
from flash_doctor.abi.elf import Elf, VersionNeed
from flash_doctor.abi.fatbin import GpuCode, gpu_code
from flash_doctor.abi.symbols import WantedSymbol, exports, wanted_symbols
from flash_doctor.model import Absent, Part, Unknown

_TORCH_LIBRARY = re.compile(r"lib(torch|c10)(_\w+)?\.so")
# PEP 3149 file names: module.cpython-312-x86_64-linux-gnu.so, module.abi3.so
_CPYTHON_NAME = re.compile(r"\.cpython-(?P<digits>\d+)(?P<flags>[a-z]*)-[^.]*\.so$")
_NUMBERED = re.compile(r"(?P<family>[A-Z]+)_(?P<version>\d+(\.\d+)*)")
_NUMPY_1, _NUMPY_2 = b"numpy.core._multiarray_umath", b"numpy._core._multiarray_umath"
_NUMPY_HELPER = b"numpy.core.multiarray"
_PIECE = 4 << 20
_TEXT_LIMIT = 256 << 20


class NumpyApi(Enum):
    """The generation of numpy's C headers: 2 runs under numpy 1 and 2, 1 only under numpy 1."""

    ONE = 1
    TWO = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """One shared object.

    `wanted` are the symbols that others must define (strong, and with a relocation); `torch_symbols` those of
    them that are torch's; `cxx11abi` None where no symbol tells; `python_abi` abi3, cp312, cp313t; `stable_torch`
    when it touches torch through the C shims only; `glibc`, `glibcxx` and `cxxabi` the newest version needed.
    """

    name: str
    machine: str
    soname: str | None
    needed: tuple[str, ...]
    wanted: tuple[WantedSymbol, ...]
    version_needs: tuple[VersionNeed, ...]
    torch_symbols: tuple[str, ...]
    cxx11abi: bool | None
    links_torch: bool
    stable_torch: bool
    python_abi: Part[str]
    numpy: Part[NumpyApi]
    gpu_code: Part[GpuCode]

    @property
    def glibc(self) -> Version | None:
        return self._newest("GLIBC")

    @property
    def glibcxx(self) -> Version | None:
        return self._newest("GLIBCXX")

    @property
    def cxxabi(self) -> Version | None:
        return self._newest("CXXABI")

    def fits_python(self, abi: str) -> bool | None:
        """Whether an interpreter with that ABI tag (cp312, cp313t) imports a file of this name; None: cannot tell."""
        if isinstance(self.python_abi, (Absent, Unknown)):
            return None
        # the limited API has no free-threaded form that older file names could mean
        return not abi.endswith("t") if self.python_abi == "abi3" else self.python_abi == abi

    def _newest(self, family: str) -> Version | None:
        matches = (_NUMBERED.fullmatch(need.version) for need in self.version_needs if not need.weak)
        return max(
            (Version(match["version"]) for match in matches if match and match["family"] == family), default=None
        )


def read_binary(source: Path | Buffer, name: str | None = None) -> Binary:
    """Read one shared object from a file, or from a buffer with the file name that it goes by.

    Raises:
        BadBinary: no ELF file, 32-bit or big-endian, truncated or damaged.
    """
    if isinstance(source, Path):
        with mapped(source) as data:
            return _read(Elf(data, name or source.name))
    return _read(Elf(source, name or "binary"))


def _read(file: Elf) -> Binary:
    # in the order in which the parts lie in most files: a compressed member is then read forward only
    needed = file.needed
    wanted = wanted_symbols(file)
    names = [symbol.name for symbol in wanted]
    torch_symbols = tuple(sorted(symbol.name for symbol in wanted if not symbol.version and is_torch(symbol.name)))
    # torch's symbols decide; those of libstdc++ are the second witness
    strings = cxx11_strings(torch_symbols)
    return Binary(
        name=file.name,
        machine=file.machine,
        soname=file.soname,
        needed=needed,
        wanted=wanted,
        version_needs=file.version_needs,
        torch_symbols=torch_symbols,
        cxx11abi=cxx11_strings(names) if strings is None else strings,
        links_torch=bool(torch_symbols) or any(_TORCH_LIBRARY.match(library) for library in needed),
        stable_torch=bool(torch_symbols) and all(map(is_c_shim, torch_symbols)),
        python_abi=_python_abi(file, names),
        numpy=_numpy(file, names),
        gpu_code=gpu_code(file),
    )


def _python_abi(file: Elf, names: list[str]) -> Part[str]:
    base = Path(file.name).name
    if base.endswith(".abi3.so"):
        return "abi3"
    if match := _CPYTHON_NAME.search(base):
        return f"cp{match['digits']}{match['flags']}"
    if not any(name.startswith(("Py", "_Py")) for name in names):
        return Absent(absent="it uses no symbol of Python")
    return Unknown(unknown="the file name says no Python version")


def _numpy(file: Elf, names: list[str]) -> Part[NumpyApi]:
    """By the modules that numpy's `import_array` tries: numpy 2's headers know the new one, numpy 1's do not."""
    if not any(name.startswith("PyCapsule_") for name in names):
        return Absent(absent="it does not use numpy's C interface")
    seen = _texts(file, (_NUMPY_1, _NUMPY_2, _NUMPY_HELPER))
    if seen is None:
        return Unknown(unknown="the file has no section headers, or too much constant data to look through")
    if _NUMPY_2 in seen:
        return NumpyApi.TWO
    if _NUMPY_1 in seen:
        return NumpyApi.ONE
    if _NUMPY_HELPER in seen:
        return Unknown(unknown="it reaches numpy through a helper library that does not say for which numpy")
    return Absent(absent="it does not use numpy's C interface")


def _texts(file: Elf, wanted: tuple[bytes, ...]) -> set[bytes] | None:
    """Which of the texts stand in the constant data; None where that cannot be looked through."""
    section = file.section(".rodata")
    if section is None or section.size > _TEXT_LIMIT:
        return None
    overlap = max(map(len, wanted)) - 1
    end = min(section.offset + section.size, file.size)
    seen: set[bytes] = set()
    for start in range(section.offset, end, _PIECE):
        piece = file.data[start : min(start + _PIECE + overlap, end)]
        seen |= {text for text in wanted if text in piece}
    return seen


_ERROR_NEW = "_ZN3c105ErrorC1ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
_ERROR_OLD = "_ZN3c105ErrorC1ENS_14SourceLocationESs"


def torch_cxx11abi(libc10: Path) -> bool | None:
    """Which std::string torch itself was built with: by the constructor of c10::Error that libc10.so exports.

    Raises:
        BadBinary: libc10.so is damaged.
    """
    with mapped(libc10) as data:
        file = Elf(data, libc10.name)
        new, old = (exports(file, WantedSymbol(name=name)) for name in (_ERROR_NEW, _ERROR_OLD))
    return new if new != old else None
