"""Archives of strangers: zip directories bounded while they are read, source archives unpacked into a folder of ours.

zipfile makes an object of every entry of a directory before anybody can count them, tarfile reads headers of any size
into memory and, before Python 3.10.12 and 3.11.4, refuses nothing: what is refused here is the same everywhere.
"""

from __future__ import annotations

import gzip
import os
import posixpath
import shutil
import struct
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

from flash_doctor.system.files import open_regular
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

MOST_FILES = 1 << 17  # in a zip file; torch, the largest wheel known, has 15,000
_DIRECTORY = 16 << 20  # bytes of a zip file's directory
_RECORD, _LENGTHS = b"PK\1\2", struct.Struct("<28xHHH12x")
_ENCRYPTED = 1
_COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
# what zipfile and tarfile raise on damaged archives, RuntimeError being for encrypted ones and for nested headers
_FAULTS = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error),
    *(OSError, EOFError, ValueError, OverflowError, RuntimeError, LookupError),
)
_PIECE = 1 << 16


class BadArchive(ValueError):
    """An archive that is damaged, larger than any of its kind, or wants to write elsewhere."""


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BadArchive:
        raise
    except _FAULTS as error:
        raise BadArchive(str(error) or type(error).__name__) from error


def _refuse(why: str) -> NoReturn:
    raise BadArchive(why)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file on disk; what is read of it inside of the `with` is told as a BadArchive too.

    Raises:
        BadArchive: it cannot be read, is no zip file, or has more entries than any wheel.
    """
    with _told(), open_regular(path) as file, zip_of(file) as archive:
        yield archive


def zip_of(file: io.BufferedReader) -> zipfile.ZipFile:
    """A zip file that lies anywhere; `file` must stay open as long as it is read.

    Raises:
        BadArchive: as open_zip.
    """
    with _told():
        return zipfile.ZipFile(_Directory(file))


class _Directory:
    """Hands zipfile the directory, which it asks for in one piece, after its entries were counted."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > _DIRECTORY:
            _refuse(f"its directory has {size} bytes")
        data = self._file.read(size)
        at = count = 0
        while data.startswith(_RECORD, at) and len(data) - at >= _LENGTHS.size:
            at += _LENGTHS.size + sum(_LENGTHS.unpack_from(data, at))
            count += 1
            if count > MOST_FILES:
                _refuse(f"it has more than {MOST_FILES} files")
        return data


def read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """All of one file in a zip file.

    Raises:
        BadArchive: there is none of that name, it is damaged, encrypted or packed as wheels are not, or it has, or
            unpacks to, more than `limit` bytes.
    """
    with _told():
        info = archive.getinfo(name)
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _COMPRESSIONS:
            _refuse(f"{name} is encrypted, or compressed in a way that is not used here")
        if info.file_size > limit:
            _refuse(f"{name} is larger than {limit} bytes")
        with archive.open(info) as file:
            return file.read(limit)  # read() alone would unpack all that follows before it cuts


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of a source archive: entries, bytes of everything unpacked, folders in each other."""

    entries: int = 200_000
    size: int = 4 << 30
    depth: int = 64


SOURCES = Limits()


def extract(archive: Path, folder: Path, limits: Limits = SOURCES) -> None:
    """Unpack a .tar.gz or .tar into a folder of ours in which nothing lies yet.

    Files get their permissions without set-id and without write access for others; owners and times are not taken
    over. Links are made last and may lead to what lies inside alone, so that nothing is written through them.

    Raises:
        BadArchive: damaged, beyond the limits, or with an entry that leads out of the folder, is a device, stands
            twice, or lies behind a link; what was unpacked until then is left in the folder.
    """
    with _told(), open_regular(archive) as packed:
        unpacked = gzip.GzipFile(fileobj=packed) if packed.peek(2)[:2] == b"\x1f\x8b" else packed
        with tarfile.TarFile(fileobj=_Metered(unpacked, limits.size)) as tar:  # type: ignore[arg-type]
            tree = _Tree(folder, limits)
            for number, member in enumerate(tar, 1):
                if number > limits.entries:
                    _refuse(f"it has more than {limits.entries} entries")
                tree.add(tar, member)
            tree.link()


class _Metered:
    """A stream that gives no more than `left` bytes, and no header of more than 1 MiB at once."""

    def __init__(self, stream: IO[bytes], left: int) -> None:
        self._stream, self._left = stream, left
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= 1 << 20:
            _refuse(f"a header of {size} bytes")
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            _refuse("it unpacks to more than is allowed")
        return data


@dataclass
class _Tree:
    """What was unpacked until now; names are relative, with slashes, as in the archive."""

    folder: Path
    limits: Limits
    written: int = 0
    files: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = self._name(member.name)
        if member.isdir():
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            return
        if name in self.files or name in self.links:
            _refuse(f"{name} stands in it twice")
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        if member.issym():
            self.links[name] = member.linkname
        elif member.islnk():
            self._copy(name, self._name(member.linkname))
        elif member.isfile() and not member.issparse():
            self._write(tar, member, name)
        else:
            _refuse(f"{name} is a device, a pipe, or has holes")

    def _name(self, name: str) -> str:
        parts = name.split("/")
        if name.startswith("/") or ".." in parts:
            _refuse(f"{name} leads out of the folder")
        if len(parts) > self.limits.depth:
            _refuse(f"{cut(name, 200)} lies more than {self.limits.depth} folders deep")
        return posixpath.normpath(name)

    def _copy(self, name: str, first: str) -> None:
        if first not in self.files:
            _refuse(f"{name} is a link to {first}, which is no file before it")
        self._count((self.folder / first).stat().st_size, name)
        shutil.copy(self.folder / first, self.folder / name)

    def _count(self, size: int, name: str) -> None:
        self.files.add(name)
        self.written += size
        if self.written > self.limits.size:
            _refuse(f"it unpacks to more than {self.limits.size} bytes")

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
        self._count(member.size, name)
        source = tar.extractfile(member)
        assert source is not None
        with source, (self.folder / name).open("xb") as file:
            shutil.copyfileobj(source, file, _PIECE)
            if file.tell() != member.size:
                _refuse(f"{name} ends after {file.tell()} of {member.size} bytes")
            os.fchmod(file.fileno(), 0o755 if member.mode & 0o100 else 0o644)

    def link(self) -> None:
        """Make the links: none of a way, target included until its last part, may be a link itself."""
        for name, target in self.links.items():
            place = posixpath.dirname(name)
            if target.startswith("/") or not target:
                _refuse(f"{name} is a link out of the folder")
            for part in target.split("/"):
                if place in self.links:
                    _refuse(f"{name} is a link that leads through another one")
                place = posixpath.normpath(posixpath.join(place, part))
                if place.split("/")[0] == "..":
                    _refuse(f"{name} is a link out of the folder")
            (self.folder / name).symlink_to(target)
