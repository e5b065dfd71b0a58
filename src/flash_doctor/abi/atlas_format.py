"""The file format of the atlas: fingerprints of symbol names, each with the set of releases that export it.

Little-endian. A header, then the preamble (release numbers as text, the distinct release sets as bit masks, the
directory of pages), then the pages. A name's 44-bit fingerprint is the page's number (12 bits) and a key (32 bits);
a page is its sorted keys, then the number of each key's set (6 bytes a name in all). The header carries a checksum
of itself and the preamble, the directory one of each page, so a page is checked when it is read and opening reads
35 kB. A name that no release exports is taken for another with a probability of (names / 4096) / 2**32, 2e-8 today.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import Counter
from hashlib import blake2b, sha256
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias
from zlib import crc32

from flash_doctor.errors import BadFacts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from mmap import mmap

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
