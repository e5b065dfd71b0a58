"""The file format of the atlas: fingerprints of symbol names, each with the set of releases that export it.

Little-endian. A header, then the preamble (release numbers as text, the distinct release sets as bit masks, the
directory of pages), then the pages. A name's 44-bit fingerprint is the page's number (12 bits) and a key (32 bits);
a page is its sorted keys, then the number of each key's set (6 bytes a name in all). The header carries a checksum
of itself and the preamble, the directory one of each page, so a page is checked when it is read and opening reads
35 kB. A name that no release exports is taken for another with a probability of (names / 4096) / 2**32, 2e-8 today.
"""

from __future__ import annotations

import datetime
import os
import re
import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from hashlib import blake2b, sha256
from itertools import groupby
from mmap import ACCESS_READ, mmap
from operator import and_
from typing import TYPE_CHECKING, Annotated, TypeAlias
from zlib import crc32

from packaging.version import InvalidVersion, Version

from flash_doctor.abi.built_for import BuiltFor, SymbolAge, built_for, plain_release
from flash_doctor.abi.demangle import is_torch
from flash_doctor.errors import BadFacts
from flash_doctor.facts.kinds import GIVEN, NAME
from flash_doctor.system.paths import facts_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    Buffer: TypeAlias = bytes | mmap


MAGIC = b"fdatlas\n"
FORMAT = 1
PAGES = 4096
KEY_BITS = 32
# magic, format, releases, sets, bytes of a mask, names, bytes of the release text, sha256 of the provenance
_HEADER = struct.Struct("<8sHHHHII32s")
_CHECKSUM = struct.Struct("<I")
_PAGE = struct.Struct("<II")  # entries before this page, checksum of the page
_ENTRY = 6


def fingerprint(name: str) -> int:
    """44 bits of a symbol's mangled name, without its version."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=6).digest(), "big") >> 4


def digest(provenance: bytes) -> bytes:
    """What ties the file to the text beside it that says where it comes from."""
    return sha256(provenance).digest()


def pack(releases: Sequence[str], masks: Mapping[int, int], provenance: bytes) -> bytes:
    """The file: `masks` gives for each fingerprint the releases (bit n: `releases[n]`); same input, same bytes."""
    # Common sets first, so that the order does not depend on how the mapping was filled.
    ranked = sorted(Counter(masks.values()).items(), key=lambda item: (-item[1], item[0]))
    number = {mask: rank for rank, (mask, _) in enumerate(ranked)}
    pages = _pages({key: number[mask] for key, mask in masks.items()})
    width = len(releases) // 8 + 1
    text = " ".join(releases).encode("ascii")
    header = _HEADER.pack(MAGIC, FORMAT, len(releases), len(ranked), width, len(masks), len(text), digest(provenance))
    preamble = text + b"".join(mask.to_bytes(width, "little") for mask, _ in ranked) + _directory(pages)
    return header + _CHECKSUM.pack(crc32(header + preamble)) + preamble + b"".join(pages)


def _pages(numbers: Mapping[int, int]) -> list[bytes]:
    found = {
        page: list(entries) for page, entries in groupby(sorted(numbers.items()), key=lambda item: item[0] >> KEY_BITS)
    }
    return [_page(found.get(page, [])) for page in range(PAGES)]


def _page(entries: list[tuple[int, int]]) -> bytes:
    keys = [key & ((1 << KEY_BITS) - 1) for key, _ in entries]
    return struct.pack(f"<{len(keys)}I{len(keys)}H", *keys, *(number for _, number in entries))


def _directory(pages: Sequence[bytes]) -> bytes:
    before, rows = 0, []
    for page in pages:
        rows.append(_PAGE.pack(before, crc32(page)))
        before += len(page) // _ENTRY
    return b"".join(rows)


class AtlasImage:
    """A packed atlas in memory or mapped; `origin` is the file's name in errors.

    Raises:
        BadFacts: on opening and on every look-up, where the bytes are not those that were written.
    """

    __slots__ = ("_body", "_data", "_directory", "_masks", "names", "origin", "provenance", "releases")

    def __init__(self, data: Buffer, origin: str) -> None:
        self._data, self.origin = data, origin
        self._demand(len(data) >= _HEADER.size + _CHECKSUM.size, "it is too short")
        magic, version, releases, sets, width, self.names, text, self.provenance = _HEADER.unpack_from(data)
        self._demand(magic == MAGIC and version == FORMAT and width > 0, f"it is not an atlas of format {FORMAT}")
        start = _HEADER.size + _CHECKSUM.size
        self._directory = start + text + sets * width
        self._body = self._directory + PAGES * _PAGE.size
        end = self._body + self.names * _ENTRY
        self._demand(len(data) == end, f"it has {len(data)} bytes, not {end}")
        preamble = data[start : self._body]
        (checksum,) = _CHECKSUM.unpack_from(data, _HEADER.size)
        self._demand(checksum == crc32(data[: _HEADER.size] + preamble), "the checksum of its header is wrong")
        self.releases = tuple(preamble[:text].decode("ascii", "replace").split())
        table = preamble[text : text + sets * width]
        self._masks = [int.from_bytes(table[at : at + width], "little") for at in range(0, len(table), width)]
        self._demand(len(self.releases) == releases, "its list of releases is wrong")

    def _demand(self, holds: bool, why: str) -> None:
        if not holds:
            message = f"the atlas {self.origin} is damaged: {why}"
            raise BadFacts(message, advice="Install flash-doctor again.")

    def mask(self, name: str) -> int:
        """The releases that export the name as bits (bit n: `releases[n]`); 0 where none does."""
        key = fingerprint(name)
        keys, numbers = self._read(key >> KEY_BITS)
        key &= (1 << KEY_BITS) - 1
        at = bisect_left(keys, key)
        return self._set(numbers[at]) if at < len(keys) and keys[at] == key else 0

    def masks(self) -> Iterator[tuple[int, int]]:
        """Every fingerprint with its releases as bits: what a newer release is merged into."""
        for page in range(PAGES):
            for key, number in zip(*self._read(page), strict=True):
                yield page << KEY_BITS | key, self._set(number)

    def _read(self, page: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Keys and set numbers of a page, checked."""
        first, checksum = _PAGE.unpack_from(self._data, self._directory + page * _PAGE.size)
        after = self.names
        if page + 1 < PAGES:
            after, _ = _PAGE.unpack_from(self._data, self._directory + (page + 1) * _PAGE.size)
        raw = self._data[self._body + first * _ENTRY : self._body + after * _ENTRY]
        count = len(raw) // _ENTRY
        self._demand(first <= after <= self.names and crc32(raw) == checksum, "the checksum of a page is wrong")
        values = struct.unpack(f"<{count}I{count}H", raw)
        return values[:count], values[count:]

    def _set(self, number: int) -> int:
        self._demand(number < len(self._masks), "a symbol has no release set")
        return self._masks[number]


# A mangled name (also of a type info, vtable, guard, thunk) that begins in one of torch's own namespaces.
_IN_TORCH = re.compile(r"_Z(?:T[ISVTCJ]|G[VR]|T[hvc]\w*?_)?N[rVKRO]*(?:3c10|2at|5torch)")
# As part of a name that torch exports: at::Tensor in std::vector<at::Tensor>, pybind11::type_caster<at::Tensor>.
_MENTIONS_TORCH = re.compile(r"3c10|2at|5torch|6caffe2")


def in_torch_namespace(symbol: str) -> bool:
    """Whether the mangled name lies in the namespaces c10, at or torch."""
    return _IN_TORCH.match(symbol) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Where the atlas knows a release from: its wheel on the index, when that came out and when it was read."""

    version: Annotated[Version, NAME]
    wheel: str
    sha256: str
    released: datetime.date
    read: datetime.date
    names: int
    libraries: Annotated[Mapping[str, int], GIVEN]


class Atlas:
    """Symbols of the x86_64 builds of torch on the package index, by release.

    Every answer is about those builds: a nightly, a vendor's build or another CUDA variant may differ (`covers`).
    """

    def __init__(self, image: AtlasImage, path: Path) -> None:
        self._image, self.path = image, path
        self._selected: dict[int, tuple[Version, ...]] = {}
        self._masks: dict[str, int] = {}
        try:
            self.releases = tuple(Version(release) for release in image.releases)
        except InvalidVersion as error:
            raise _unusable(path, str(error)) from error

    @classmethod
    def open(cls, path: Path | None = None) -> Atlas:
        """Map the shipped atlas, or the one at `path` with its `.toml` beside it.

        Raises:
            BadFacts: it is missing, damaged, or not the one that the text beside it describes. Damage in the
                body is met, with the same error, by the look-up that would have read it.
        """
        path = path or _shipped()
        try:
            provenance = path.with_suffix(".toml").read_bytes()
            with path.open("rb") as file:
                data = mmap(file.fileno(), 0, access=ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
            raise _unusable(path, str(error)) from error
        image = AtlasImage(data, path.name)
        if digest(provenance) != image.provenance:
            raise _unusable(path, f"it is not the one that {path.stem}.toml describes")
        return cls(image, path)

    def exported_by(self, symbol: str) -> tuple[Version, ...]:
        """The releases that export a symbol (mangled, without version), oldest first; empty where none does."""
        return self._select(self._mask(symbol))

    def releases_exporting_all(self, symbols: Iterable[str]) -> tuple[Version, ...] | None:
        """The releases that export every symbol of torch among `symbols`; None where none of them is torch's.

        Counted as torch's are the names that any release exports, and names in torch's namespaces even where none
        does. A name with a version (`memcpy@GLIBC_2.14`) is never torch's. Some releases export parts of the C++
        library along, so this is to be asked for files that link torch: to others the answer means nothing.
        """
        masks = [
            mask
            for symbol in symbols
            if "@" not in symbol and ((mask := self._mask(symbol)) or in_torch_namespace(symbol))
        ]
        return self._select(reduce(and_, masks)) if masks else None

    def explain_symbol(self, symbol: str) -> SymbolAge:
        """How old a symbol is, as far as the atlas knows."""
        found = self.exported_by(symbol)
        of_torch = is_torch(symbol) or bool(found and _MENTIONS_TORCH.search(symbol))
        return SymbolAge(symbol=symbol, of_torch=of_torch, exported_by=found, atlas=self.releases)

    def built_for(
        self, releases: Sequence[Version], *, installed: Version | None = None, on: datetime.date | None = None
    ) -> BuiltFor:
        """What some releases of this atlas mean for the torch that is installed, and for a day in a log."""
        released = self.released if on else None
        return built_for(releases, self.releases, installed=installed, on=on, released=released)

    def covers(self, version: Version) -> bool:
        """Whether the atlas was read from this release; a nightly or a vendor's build is outside of it."""
        return plain_release(version) in self.releases

    @cached_property
    def provenance(self) -> tuple[Release, ...]:
        """What each release was read from; parsed when first asked for."""
        return _read_provenance(self.path.with_suffix(".toml"))

    @property
    def released(self) -> dict[Version, datetime.date]:
        """The day each release came out on the index."""
        return {release.version: release.released for release in self.provenance}

    def _mask(self, symbol: str) -> int:
        """The releases that export it, as bits; each symbol is looked up once, since extensions want much the same."""
        if symbol not in self._masks:
            self._masks[symbol] = self._image.mask(symbol)
        return self._masks[symbol]

    def _select(self, mask: int) -> tuple[Version, ...]:
        """The releases of a mask; there are few distinct ones, so each is spelled out once."""
        if mask not in self._selected:
            self._selected[mask] = tuple(release for bit, release in enumerate(self.releases) if mask >> bit & 1)
        return self._selected[mask]


def _unusable(path: Path, why: str) -> BadFacts:
    return BadFacts(f"the atlas {path} cannot be used: {why}", advice="Install flash-doctor again.")


def _shipped() -> Path:
    return facts_folder(os.environ) / "abi" / "atlas.bin"


def _read_provenance(path: Path) -> tuple[Release, ...]:
    from flash_doctor.facts.loading import Table, TableSection

    table = Table.read(path, libraries={})
    counted = table.data.get("names", {})  # by release, and in that by library: a table of tables for each
    releases = tuple(
        replace(release, libraries=counted.get(str(release.version), {}))
        for release in table.listed(Release, TableSection("release", sourced=False))
    )
    table.finish()
    return releases
