"""Random access to a member of a zip file in constant memory, without unpacking it anywhere.

Deflate can only be read forward. While it is, the state of the decompressor (some 40 kB) is kept now and then, so
that going back costs a piece of the stream and not all of it.
"""

from __future__ import annotations

import io
import posixpath
import re
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import HeaderParser
from email.policy import compat32
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from flash_doctor.abi.binary import Binary, read_binary
from flash_doctor.errors import BadBinary, BadInput
from flash_doctor.system.archive import MOST_FILES, BadArchive, read_member, zip_of
from flash_doctor.system.bounds import csv_rows, tags_of, wheel_name
from flash_doctor.system.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message
    from pathlib import Path

    from packaging.tags import Tag
    from packaging.utils import NormalizedName
    from packaging.version import Version

    from flash_doctor.abi.buffer import Buffer


_PAGE = 1 << 20
_PAGES_KEPT = 8
_STATES_KEPT = 128
_CHUNK = 1 << 16
# what deflate can make of one byte, at most (zlib's technical details)
_LARGEST_RATIO = 1032


class ByteSource(Protocol):
    """A file of `size` bytes somewhere; `ranges.RangeReader` is one for an address."""

    size: int

    def read(self, start: int, length: int) -> bytes: ...

    def stream(self, start: int, length: int) -> Iterator[bytes]: ...


class LocalSource:
    """A file on disk."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = open_regular(path)
            self.size = path.stat().st_size
        except OSError as error:
            message = f"{path} could not be read: {error.strerror}"
            raise BadBinary(message) from error

    def __enter__(self) -> LocalSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, start: int, length: int) -> bytes:
        self._file.seek(start)
        return self._file.read(length)

    def stream(self, start: int, length: int) -> Iterator[bytes]:
        for at in range(start, start + length, _CHUNK):
            yield self.read(at, min(_CHUNK, start + length - at))


@dataclass
class _State:
    """The decompressor before a page: `consumed` bytes of the stream went in."""

    page: int
    consumed: int
    decompressor: Any

    def copy(self) -> _State:
        return _State(self.page, self.consumed, self.decompressor.copy())


class _Pages(ABC):
    """A buffer in pages, the last few of which are kept; subclasses bring a page."""

    def __init__(self, size: int, name: str) -> None:
        self.size, self.name = size, name
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, where: slice) -> bytes:
        start, stop, _ = where.indices(self.size)
        first, last = start // _PAGE, (stop - 1) // _PAGE
        if first == last:
            return self._page(first)[start % _PAGE : stop - first * _PAGE]
        text = b"".join(self._page(page) for page in range(first, last + 1)) if start < stop else b""
        return text[start % _PAGE : stop - first * _PAGE]

    def find(self, wanted: bytes, start: int, end: int) -> int:
        """As bytes.find, page by page."""
        while start + len(wanted) <= end:
            stop = min((start // _PAGE + 1) * _PAGE + len(wanted) - 1, end)
            if (at := self[start:stop].find(wanted)) >= 0:
                return start + at
            start = stop - len(wanted) + 1
        return -1

    def _page(self, page: int) -> bytes:
        if page in self._kept:
            self._kept.move_to_end(page)
        else:
            self._bring(page)
        return self._kept[page]

    def _keep(self, page: int, data: bytes) -> None:
        if len(data) != min(_PAGE, self.size - page * _PAGE):
            message = f"{self.name}: it is truncated or damaged"
            raise BadBinary(message, evidence=(f"it should have {self.size} bytes and ends before",))
        self._kept[page] = data
        if len(self._kept) > _PAGES_KEPT:
            self._kept.popitem(last=False)

    @abstractmethod
    def _bring(self, page: int) -> None:
        """Read that page, and keep it."""


class Stored(_Pages):
    """A member that is not compressed, at `start` of its source."""

    def __init__(self, source: ByteSource, start: int, size: int, name: str) -> None:
        super().__init__(size, name)
        self._source, self._start = source, start

    def _bring(self, page: int) -> None:
        length = min(_PAGE, self.size - page * _PAGE)
        self._keep(page, self._source.read(self._start + page * _PAGE, length))


class Inflated(_Pages):
    """A deflated member: `compressed` bytes at `start` of its source become `size` bytes."""

    def __init__(self, source: ByteSource, start: int, compressed: int, size: int, name: str) -> None:
        super().__init__(size, name)
        if size > compressed * _LARGEST_RATIO + _PAGE:
            message = f"{name}: it is truncated or damaged"
            raise BadBinary(message, evidence=(f"{compressed} bytes cannot hold {size} bytes",))
        self._source, self._start, self._compressed = source, start, compressed
        self._every = size // _PAGE // _STATES_KEPT + 1
        self._states = [_State(0, 0, zlib.decompressobj(-zlib.MAX_WBITS))]
        self._rewind(0)

    def _rewind(self, page: int) -> None:
        """Go on from the last state before the page."""
        index = bisect_right(self._states, page, key=lambda state: state.page) - 1
        self._now = self._states[index].copy()
        left = self._compressed - self._now.consumed
        self._chunks = self._source.stream(self._start + self._now.consumed, left)
        self._rest = b""

    def _bring(self, page: int) -> None:
        if page < self._now.page or page >= self._now.page + 2 * self._every < self._states[-1].page:
            self._rewind(page)
        while self._now.page <= page:
            self._keep(self._now.page, self._inflate())
            self._now.page += 1
            if self._now.page % self._every == 0 and self._now.page > self._states[-1].page:
                self._states.append(self._now.copy())

    def _inflate(self) -> bytes:
        """The next page of the stream."""
        pieces, room, now = [], min(_PAGE, self.size - self._now.page * _PAGE), self._now
        while room and not now.decompressor.eof:
            chunk = self._rest or next(self._chunks, b"")
            try:
                piece = now.decompressor.decompress(chunk, room)
            except zlib.error as error:
                message = f"{self.name}: its compressed data is damaged"
                raise BadBinary(message, evidence=(str(error),)) from error
            self._rest = now.decompressor.unconsumed_tail
            now.consumed += len(chunk) - len(self._rest)
            if not chunk and not piece:
                break
            pieces.append(piece)
            room -= len(piece)
        return b"".join(pieces)


_SHARED_OBJECT = re.compile(r"\.so(\.[0-9.]+)?$")
_SIZE = re.compile(r"[0-9]{1,18}")
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_TAIL, _BLOCK = 1 << 16, 1 << 14
_TEXT_LIMIT = 16 << 20  # torch's RECORD, the largest known, has 2 MB
_HEADERS_LIMIT = 1 << 20  # characters before the description
_LINES_LIMIT = 20_000
_BLANK_LINE = re.compile(r"\r?\n\r?\n")
_TAGS_LIMIT = 100  # lines of WHEEL
_ENCRYPTED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRow:
    """One line of RECORD: `hash` as `sha256=...` (empty for RECORD itself), `size` in bytes."""

    path: str
    hash: str
    size: int | None


class OpenedWheel:
    """An opened wheel.

    Raises:
        BadInput: the name is no wheel's, or the archive is damaged; BadBinary for a member that is.
    """

    def __init__(self, source: ByteSource, filename: str) -> None:
        self.source, self.filename = source, filename
        self.project, self.version, self.tags = _parse_name(filename)
        try:
            self._zip = zip_of(io.BufferedReader(_SeekableSource(source), _BLOCK))
        except BadArchive as error:
            self._fail(str(error), error)

    def _fail(self, evidence: str, cause: Exception | None = None) -> NoReturn:
        message = f"{self.filename} is damaged, or no wheel"
        raise BadInput(message, evidence=(evidence,)) from cause

    @cached_property
    def metadata(self) -> Message:
        """The headers of METADATA (Name, Version, Requires-Dist, Requires-Python ...)."""
        return self._headers("METADATA")

    @cached_property
    def metadata_tags(self) -> frozenset[Tag]:
        """The tags that the file WHEEL states; they should be those of the name."""
        lines = self._headers("WHEEL").get_all("Tag", [])
        try:
            return frozenset(tag for line in lines[:_TAGS_LIMIT] for tag in tags_of(str(line).strip()))
        except ValueError as error:
            self._fail(f"a tag in WHEEL is malformed: {error}", error)

    @cached_property
    def record(self) -> tuple[RecordRow, ...]:
        try:
            rows = [row for row in csv_rows(self._text("RECORD"), rows=2 * MOST_FILES) if len(row) == 3]
        except ValueError as error:
            self._fail(f"RECORD is malformed: {error}", error)
        return tuple(
            RecordRow(path=path, hash=digest, size=int(size) if _SIZE.fullmatch(size) else None)
            for path, digest, size in rows
        )

    @cached_property
    def binaries(self) -> tuple[str, ...]:
        """Names of the shared objects in it, in the order in which they lie in the file."""
        members = sorted(self._zip.infolist(), key=lambda member: member.header_offset)
        return tuple(member.filename for member in members if _SHARED_OBJECT.search(member.filename))

    def read_binary(self, member: str) -> Binary:
        """What one shared object was built for; its name is its path in the wheel."""
        return read_binary(self.buffer(member), member)

    def buffer(self, member: str) -> Buffer:
        """Random access to one member, in constant memory."""
        info = self._member(member)
        start = self._data_offset(info)
        if info.compress_type == zipfile.ZIP_STORED:
            return Stored(self.source, start, info.file_size, member)
        return Inflated(self.source, start, info.compress_size, info.file_size, member)

    def _member(self, name: str) -> zipfile.ZipInfo:
        try:
            info = self._zip.getinfo(name)
        except KeyError as error:
            message = f"{self.filename} has no {name}"
            raise BadInput(message) from error
        if info.flag_bits & _ENCRYPTED or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            message = f"{name} in {self.filename} is encrypted, or compressed in a way that wheels do not use"
            raise BadBinary(message)
        return info

    def _data_offset(self, info: zipfile.ZipInfo) -> int:
        header = self.source.read(info.header_offset, _LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
            self._fail(f"no header for {info.filename} at {info.header_offset:#x}")
        _, name, extra = _LOCAL_HEADER.unpack(header)
        return info.header_offset + _LOCAL_HEADER.size + int(name) + int(extra)

    def _text(self, name: str) -> str:
        """A file of the wheel's one dist-info folder."""
        folders = {path.split("/")[0] for path in self._zip.namelist() if ".dist-info/" in path}
        if len(folders) != 1:
            self._fail(f"{len(folders)} dist-info folders")
        info = self._member(posixpath.join(folders.pop(), name))
        try:
            return read_member(self._zip, info.filename, _TEXT_LIMIT).decode("utf-8", "replace")
        except BadArchive as error:
            self._fail(str(error), error)

    def _headers(self, name: str) -> Message:
        """The headers of a file; what stands below them is a text for people, and as long as its author likes."""
        head = _BLANK_LINE.split(self._text(name), maxsplit=1)[0]
        if len(head) > _HEADERS_LIMIT or head.count("\n") > _LINES_LIMIT:
            self._fail(f"{name} has headers of {len(head)} characters")
        return HeaderParser(policy=compat32).parsestr(head)


@contextmanager
def open_wheel(path: Path) -> Iterator[OpenedWheel]:
    """A wheel on disk."""
    with LocalSource(path) as source:
        yield OpenedWheel(source, path.name)


def _parse_name(filename: str) -> tuple[NormalizedName, Version, frozenset[Tag]]:
    try:
        return wheel_name(filename)
    except ValueError as error:
        message = f"{filename[:200]!r} is no name of a wheel"
        raise BadInput(message, evidence=(str(error)[:200],)) from error


class _SeekableSource(io.RawIOBase):
    """A source as a seekable file; its end, where a zip keeps its directory, is fetched once."""

    def __init__(self, source: ByteSource) -> None:
        self._source, self._at = source, 0
        self._tail_at = max(0, source.size - _TAIL)
        self._tail = source.read(self._tail_at, _TAIL)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            message = "before the beginning"
            raise OSError(message)  # as files do; zipfile looks for it
        self._at = base + offset
        return self._at

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        if self._at >= self._tail_at:
            start = self._at - self._tail_at
            data = self._tail[start : start + len(into)]
        else:
            data = self._source.read(self._at, len(into))
        into[: len(data)] = data
        self._at += len(data)
        return len(data)
