"""The dynamic symbols of an ELF file: which it wants from others, and whether it exports a given one.

Lookups follow the loader (gABI, and glibc's rules for symbol versions) through DT_GNU_HASH, or DT_HASH where
there is no other: they touch a few pages of a file however large it is.
"""

from __future__ import annotations

import struct
import sys
from array import array
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from flash_doctor.abi import elf as _elf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.abi.elf import Elf, VersionNeed

_SYMBOL = struct.Struct("<IBBHQQ")
_LOCAL, _GLOBAL, _WEAK, _UNIQUE = 0, 1, 2, 10
_DEFINING_TYPES = {0, 1, 2, 5, 6, 10}  # NOTYPE, OBJECT, FUNC, COMMON, TLS, GNU_IFUNC
_TLS = 6
_UNDEFINED, _ABSOLUTE = 0, 0xFFF1
_HIDDEN = {1, 2}  # STV_INTERNAL, STV_HIDDEN: bound within the file
_CHUNK = 1 << 16
# A hash chain of a real library is under 40 long; gcc and the loaders never make them longer than the table.
_CHAIN_LIMIT = 1 << 16


class WantedSymbol(NamedTuple):
    """A symbol that another library must define; `version` and the `library` named with it where it has one.

    A tuple, because it is a key of many look-ups: as a dataclass it doubles the time of a link.
    """

    name: str
    version: str | None = None
    library: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name


class _Symbol(NamedTuple):
    name: int
    info: int
    other: int
    section: int
    value: int
    size: int

    @property
    def binding(self) -> int:
        return self.info >> 4

    @property
    def kind(self) -> int:
        return self.info & 15

    @property
    def wanted(self) -> bool:
        """Strong, undefined, and not promised to be found within the file."""
        return self.section == _UNDEFINED and self.binding == _GLOBAL and self.other & 3 not in _HIDDEN

    @property
    def exported(self) -> bool:
        return (
            self.section != _UNDEFINED
            and (self.value != 0 or self.section == _ABSOLUTE or self.kind == _TLS)
            and self.binding in {_GLOBAL, _WEAK, _UNIQUE}
            and self.kind in _DEFINING_TYPES
            and self.other & 3 not in _HIDDEN
        )


def wanted_symbols(file: Elf) -> tuple[WantedSymbol, ...]:
    """The strong undefined symbols that a relocation refers to: without all of them an import fails.

    A symbol without a relocation is never looked up, a weak one may stay unresolved. In the order of the names
    in the string table, which is how a compressed file is read without going back.
    """
    symbols = [(_symbol(file, index), index) for index in sorted(_relocated(file))]
    rows = sorted((symbol.name, index) for symbol, index in symbols if symbol.wanted)
    found, room = [], _elf.TABLE_LIMIT
    for name, index in rows:
        need = file.needed_version(index)
        text = file.string(name)
        room -= len(text)
        if room < 0:
            file.fail("its symbol names are impossibly long", f"{len(rows)} names")
        found.append(_wanted(text, need))
    return tuple(found)


def _wanted(name: str, need: VersionNeed | None) -> WantedSymbol:
    return WantedSymbol(name=name, version=need.version, library=need.library) if need else WantedSymbol(name=name)


def _symbol(file: Elf, index: int) -> _Symbol:
    return _Symbol(*_SYMBOL.unpack(file.read(file.symbols_at + 24 * index, 24)))


def _relocated(file: Elf) -> set[int]:
    """Indexes of the symbols in DT_RELA, DT_REL and DT_JMPREL (DT_RELR holds relative relocations only)."""
    with_addend = file.entry(_elf.DT_PLTREL) != _elf.DT_REL
    tables = (
        (_elf.DT_RELA, _elf.DT_RELASZ, True),
        (_elf.DT_REL, _elf.DT_RELSZ, False),
        (_elf.DT_JMPREL, _elf.DT_PLTRELSZ, with_addend),
    )
    return {index for start, size, addend in tables for index in _relocations(file, start, size, 24 if addend else 16)}


def _relocations(file: Elf, start: int, length: int, width: int) -> Iterator[int]:
    """Symbol indexes of one table, piece by piece; 0 (no symbol) and R_NONE are left out."""
    at, size = file.table(start), file.entry(length) or 0
    if at is None or not size:
        return
    if size > _elf.TABLE_LIMIT:
        file.fail("its relocation table is impossibly long", f"{size} bytes")
    step = width // 4
    for offset in range(0, size // width * width, _CHUNK * width):
        words = array("I", file.read(at + offset, min(_CHUNK * width, size // width * width - offset)))
        if sys.byteorder == "big":
            words.byteswap()
        yield from {index for kind, index in zip(words[2::step], words[3::step], strict=True) if index and kind}


@lru_cache(maxsize=1 << 14)
def _gnu_hash(name: bytes) -> int:
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def _sysv_hash(name: bytes) -> int:
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value


def exports(file: Elf, wanted: WantedSymbol) -> bool:
    """Whether the loader would take this file's definition for the wanted symbol, its version compared."""
    name = wanted.name.encode("utf-8", "surrogateescape")
    newest_only = 0
    for index in _candidates(file, name):
        symbol = _symbol(file, index)
        if not symbol.exported or not file.string_equals(symbol.name, name):
            continue
        fits = _version_fits(file, index, wanted.version)
        if fits:
            return True
        newest_only += fits is None
    return newest_only == 1


def _version_fits(file: Elf, index: int, version: str | None) -> bool | None:
    """As check_match of glibc: None where an unversioned want may take this default version if it is the only one."""
    mark = file.version_index(index)
    if mark is None:
        return True
    number, hidden = mark & 0x7FFF, bool(mark & 0x8000)
    if version is not None:
        defined = file.version_definitions.get(number)
        return defined == version or (defined is None and not hidden)
    if number < 3:  # local, global, or the oldest version that the file defines
        return True
    return False if hidden else None


def _candidates(file: Elf, name: bytes) -> Iterator[int]:
    """Indexes of the symbols that may have this name."""
    if file.gnu_hash is not None:
        return _gnu_chain(file, file.gnu_hash, _gnu_hash(name))
    if (table := file.table(_elf.DT_HASH)) is not None:
        return _sysv_chain(file, table, _sysv_hash(name))
    return iter(())


def _gnu_chain(file: Elf, header: tuple[int, int, int, int, int], value: int) -> Iterator[int]:
    table, buckets, first, words, shift = header
    if not buckets or not words:
        return
    (bloom,) = file.unpack("<Q", table + 16 + 8 * (value // 64 % words))
    if not bloom >> value % 64 & bloom >> (value >> shift % 32) % 64 & 1:
        return
    chains = table + 16 + 8 * words + 4 * buckets
    (index,) = file.unpack("<I", chains - 4 * buckets + 4 * (value % buckets))
    if index < first:
        return
    for step in range(index, index + _CHAIN_LIMIT):
        (link,) = file.unpack("<I", chains + 4 * (step - first))
        if (link ^ value) >> 1 == 0:
            yield step
        if link & 1:
            return
    file.fail("a chain of its symbol hash table does not end", f"bucket {value % buckets}")


def _sysv_chain(file: Elf, table: int, value: int) -> Iterator[int]:
    buckets, count = file.unpack("<II", table)
    if not buckets:
        return
    (index,) = file.unpack("<I", table + 8 + 4 * (value % buckets))
    for _ in range(min(count, _CHAIN_LIMIT)):
        if not index:
            return
        yield index
        (index,) = file.unpack("<I", table + 8 + 4 * buckets + 4 * index)
    if index:
        file.fail("a chain of its symbol hash table does not end", f"bucket {value % buckets}")


def exported_names(file: Elf) -> Iterator[str]:
    """Every name that the file exports, in the order of its symbol table."""
    for index in range(1, _symbol_count(file)):
        symbol = _symbol(file, index)
        if symbol.exported:
            yield file.string(symbol.name)


def _symbol_count(file: Elf) -> int:
    """From DT_HASH's chain count, or the end of the last chain of DT_GNU_HASH."""
    if (table := file.table(_elf.DT_HASH)) is not None:
        return int(file.unpack("<II", table)[1])
    if (table := file.table(_elf.DT_GNU_HASH)) is None:
        return 0
    buckets, first, words, _ = file.unpack("<IIII", table)
    if 4 * buckets > _elf.TABLE_LIMIT:
        file.fail("its symbol hash table is impossibly long", f"{buckets} buckets")
    starts = table + 16 + 8 * words
    last = max(struct.unpack(f"<{buckets}I", file.read(starts, 4 * buckets)), default=0)
    while last >= first and not file.unpack("<I", starts + 4 * buckets + 4 * (last - first))[0] & 1:
        last += 1
    return int(max(last + 1, first)) if last else int(first)
