"""A wheel read where it lies, on disk or behind an address: tags, METADATA, RECORD, and its binaries one by one."""

from __future__ import annotations

import io
import posixpath
import re
import struct
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import HeaderParser
from email.policy import compat32
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

from flash_doctor.abi.binary import Binary, read_binary
from flash_doctor.abi.inflate import Inflated, LocalSource, Source, Stored
from flash_doctor.errors import BadBinary, BadInput
from flash_doctor.system.archive import MOST_FILES, BadArchive, read_member, zip_of
from flash_doctor.system.bounds import csv_rows, tags_of, wheel_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message
    from pathlib import Path

    from packaging.tags import Tag
    from packaging.utils import NormalizedName
    from packaging.version import Version

    from flash_doctor.abi.buffer import Buffer

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


class Wheel:
    """An opened wheel.

    Raises:
        BadInput: the name is no wheel's, or the archive is damaged; BadBinary for a member that is.
    """

    def __init__(self, source: Source, filename: str) -> None:
        self.source, self.filename = source, filename
        self.project, self.version, self.tags = _parse_name(filename)
        try:
            self._zip = zip_of(io.BufferedReader(_Window(source), _BLOCK))
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
def open_wheel(path: Path) -> Iterator[Wheel]:
    """A wheel on disk."""
    with LocalSource(path) as source:
        yield Wheel(source, path.name)


def _parse_name(filename: str) -> tuple[NormalizedName, Version, frozenset[Tag]]:
    try:
        return wheel_name(filename)
    except ValueError as error:
        message = f"{filename[:200]!r} is no name of a wheel"
        raise BadInput(message, evidence=(str(error)[:200],)) from error


class _Window(io.RawIOBase):
    """A source as a seekable file; its end, where a zip keeps its directory, is fetched once."""

    def __init__(self, source: Source) -> None:
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
