"""ELF as the dynamic loader sees it: segments, the dynamic table, strings and symbol versions (System V gABI).

Own code, because the loader's view is needed and speed decides: the wanted symbols of a 434 MB libtorch_cpu.so
take 0.1 s here and 2.6 s with pyelftools (which also costs 35 ms to import); the tests hold the two against each
other. Nothing is believed: every offset and count of the file is held against its size.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from flash_doctor.errors import BadBinary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.abi.buffer import Buffer

MACHINES = {3: "i386", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64", 190: "cuda", 243: "riscv"}
_SHARED_OR_EXECUTABLE = {2, 3}
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3

DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ = 1, 4, 5, 6, 10
DT_RELA, DT_RELASZ, DT_REL, DT_RELSZ, DT_PLTREL, DT_JMPREL, DT_PLTRELSZ = 7, 8, 17, 18, 20, 23, 2
DT_SONAME, DT_RPATH, DT_RUNPATH, DT_FLAGS = 14, 15, 29, 30
DT_GNU_HASH, DT_FLAGS_1 = 0x6FFFFEF5, 0x6FFFFFFB
DT_VERSYM, DT_VERDEF, DT_VERNEED = 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFE
DF_1_NODEFLIB = 0x800

# Far above any real file (libtorch_cpu.so: 9 MB of relocations, 60 dynamic entries, names of 9 kB), so that a
# hostile one costs neither memory nor time.
TABLE_LIMIT = 64 << 20
_DYNAMIC_LIMIT = 4096
_VERSION_LIMIT = 1 << 14
_NAME_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    kind: int
    address: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    name: str
    address: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionNeed:
    """A symbol version that a library must define: `GLIBC_2.34` of `libc.so.6`; a weak one may be missing."""

    library: str
    version: str
    weak: bool


class Elf:
    """One little-endian 64-bit shared object or executable over a buffer.

    Raises:
        BadBinary: from the constructor and from every property, where the file is not what it claims to be.
    """

    def __init__(self, data: Buffer, name: str) -> None:
        self.data, self.name, self.size = data, name, len(data)
        if data[0:4] != b"\x7fELF":
            self.fail("it is not an ELF file", f"it begins with {data[0:4]!r}")
        self._check_class()
        (self.kind, machine, _, _, self._segments_at, self._sections_at, _, _, entry, count, _, sections, names) = (
            self.unpack("<HHIQQQIHHHHHH", 16)
        )
        self.machine = MACHINES.get(machine, f"machine {machine}")
        if self.kind not in _SHARED_OR_EXECUTABLE:
            self.fail("it is no shared object or executable", f"ELF type {self.kind}")
        if count and entry != 56:
            self.fail("its program headers have an unknown size", f"e_phentsize {entry}")
        self._segment_count, self._section_count, self._names_index = count, sections, names

    def _check_class(self) -> None:
        if len(self.data) < 64:
            self.fail("it is truncated", f"{len(self.data)} bytes")
        if self.data[4:5] != b"\x02":
            self.fail("it is a 32-bit binary; a 64-bit Python cannot load it", "ELF class 1")
        if self.data[5:6] != b"\x01":
            self.fail("it is a big-endian binary", "ELF data encoding 2")

    def fail(self, what: str, *evidence: str) -> NoReturn:
        message = f"{self.name}: {what}"
        raise BadBinary(message, evidence=evidence)

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes, or the fault that the file ends before them."""
        if offset < 0 or size < 0 or offset + size > self.size:
            self.fail("it is truncated or damaged", f"{size} bytes at {offset:#x} of {self.size} bytes")
        return self.data[offset : offset + size]

    def unpack(self, form: str, offset: int) -> tuple[Any, ...]:
        return struct.unpack(form, self.read(offset, struct.calcsize(form)))

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        table = self.read(self._segments_at, 56 * self._segment_count)
        return tuple(
            Segment(kind=kind, address=address, offset=offset, size=size)
            for kind, _, offset, address, _, size, _, _ in struct.iter_unpack("<IIQQQQQQ", table)
        )

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """The named sections; none where the file has no section headers (the loader does not need them)."""
        count = self._section_count if self._sections_at else 0
        table = self.read(self._sections_at, 64 * count)
        rows = [(row[0], row[3], row[4], row[5]) for row in struct.iter_unpack("<IIQQQQIIQQ", table)]
        if self._names_index >= len(rows):
            return ()
        names = rows[self._names_index][2]
        return tuple(
            Section(name=self._text(names + at), address=address, offset=offset, size=size)
            for at, address, offset, size in rows
        )

    def section(self, name: str) -> Section | None:
        return next((section for section in self.sections if section.name == name), None)

    @cached_property
    def _loads(self) -> tuple[Segment, ...]:
        return tuple(segment for segment in self.segments if segment.kind == _PT_LOAD)

    def offset(self, address: int) -> int:
        """Where an address of the loaded image lies in the file."""
        load = next((load for load in self._loads if load.address <= address < load.address + load.size), None)
        if load is None:
            self.fail("it is truncated or damaged", f"address {address:#x} lies in no segment")
        return address - load.address + load.offset

    @cached_property
    def interpreter(self) -> str | None:
        segment = next((segment for segment in self.segments if segment.kind == _PT_INTERP), None)
        return None if segment is None else self._text(segment.offset)

    @cached_property
    def dynamic(self) -> dict[int, list[int]]:
        """The values of each tag of PT_DYNAMIC, in their order; empty for a static executable."""
        segment = next((segment for segment in self.segments if segment.kind == _PT_DYNAMIC), None)
        values: dict[int, list[int]] = defaultdict(list)
        if segment is None:
            return values
        if segment.size > 16 * _DYNAMIC_LIMIT:
            self.fail("its dynamic table is impossibly long", f"{segment.size} bytes")
        for tag, value in struct.iter_unpack("<QQ", self.read(segment.offset, segment.size // 16 * 16)):
            if tag == 0:
                break
            values[tag].append(value)
        return values

    def entry(self, tag: int) -> int | None:
        """The tag's value; of several the last counts, as in the loader."""
        values = self.dynamic.get(tag)
        return values[-1] if values else None

    def table(self, tag: int) -> int | None:
        """File offset of the table that the tag points at."""
        address = self.entry(tag)
        return None if address is None else self.offset(address)

    @cached_property
    def _strings(self) -> int:
        offset = self.table(DT_STRTAB)
        if offset is None:
            self.fail("it is truncated or damaged", "no dynamic string table")
        return offset

    def string(self, index: int) -> str:
        return self._text(self._strings + index)

    def _text(self, offset: int) -> str:
        limit = min(offset + _NAME_LIMIT, self.size)
        end = self.data.find(b"\0", offset, limit) if offset < limit else -1
        if end < 0:
            self.fail("it is truncated or damaged", f"a name without an end at {offset:#x}")
        return self.data[offset:end].decode("utf-8", "surrogateescape")

    def string_equals(self, index: int, wanted: bytes) -> bool:
        at = self._strings + index
        return self.data[at : at + len(wanted) + 1] == wanted + b"\0"

    @cached_property
    def soname(self) -> str | None:
        index = self.entry(DT_SONAME)
        return None if index is None else self.string(index)

    @cached_property
    def needed(self) -> tuple[str, ...]:
        return tuple(self.string(index) for index in self.dynamic.get(DT_NEEDED, ()))

    @cached_property
    def runpath(self) -> tuple[str, ...]:
        return self._paths(DT_RUNPATH)

    @cached_property
    def rpath(self) -> tuple[str, ...]:
        """DT_RPATH; the loader ignores it where a DT_RUNPATH stands beside it."""
        return () if DT_RUNPATH in self.dynamic else self._paths(DT_RPATH)

    def _paths(self, tag: int) -> tuple[str, ...]:
        index = self.entry(tag)
        return () if index is None else tuple(self.string(index).split(":"))

    @property
    def ignores_defaults(self) -> bool:
        return bool((self.entry(DT_FLAGS_1) or 0) & DF_1_NODEFLIB)

    @cached_property
    def _version_needs(self) -> dict[int, VersionNeed]:
        """DT_VERNEED by the index that DT_VERSYM refers to."""
        needs = {}
        for at, (_, count, library, first, _) in self._chain(self.table(DT_VERNEED), "<HHIII"):
            file = self.string(library)
            for _, (_, flags, index, name, _) in self._chain(at + first if count else None, "<IHHII"):
                need = VersionNeed(library=file, version=self.string(name), weak=bool(flags & 2))
                needs[index & 0x7FFF] = need
        return needs

    @property
    def version_needs(self) -> tuple[VersionNeed, ...]:
        return tuple(self._version_needs.values())

    @cached_property
    def version_definitions(self) -> dict[int, str]:
        """DT_VERDEF by index; the base definition (the file's own name) is left out."""
        definitions = {}
        for at, (_, flags, index, _, _, first, _) in self._chain(self.table(DT_VERDEF), "<HHHHIII"):
            if not flags & 1:
                definitions[index & 0x7FFF] = self.string(self.unpack("<II", at + first)[0])
        return definitions

    @cached_property
    def symbols_at(self) -> int:
        """File offset of the dynamic symbol table."""
        offset = self.table(DT_SYMTAB)
        if offset is None:
            self.fail("it is truncated or damaged", "no dynamic symbol table")
        return offset

    @cached_property
    def gnu_hash(self) -> tuple[int, int, int, int, int] | None:
        """DT_GNU_HASH: its file offset, and its numbers of buckets, of the first symbol, of filter words, its shift."""
        at = self.table(DT_GNU_HASH)
        return None if at is None else (at, *self.unpack("<IIII", at))

    @cached_property
    def _versions_at(self) -> int | None:
        return self.table(DT_VERSYM)

    def version_index(self, symbol: int) -> int | None:
        """Entry of DT_VERSYM for a symbol: bit 15 marks a hidden definition; None where there is no table."""
        table = self._versions_at
        return None if table is None else int(self.unpack("<H", table + 2 * symbol)[0])

    def needed_version(self, symbol: int) -> VersionNeed | None:
        index = self.version_index(symbol)
        return None if index is None else self._version_needs.get(index & 0x7FFF)

    def _chain(self, at: int | None, form: str) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Records whose last field is the distance to the next one; distances only lead forward."""
        for _ in range(_VERSION_LIMIT if at is not None else 0):
            assert at is not None
            record = self.unpack(form, at)
            yield at, record
            if not record[-1]:
                return
            at += record[-1]
        if at is not None:
            self.fail("its version tables are impossibly long", f"more than {_VERSION_LIMIT} records")
