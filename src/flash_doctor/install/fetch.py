"""Wheels and source distributions, from the nearest place that has them: a folder, the cache, a mirror, the publisher.

The cache keeps files under their hash (`files/<sha256>/<name>`): a file that is there is the file that is meant, since
only we could have put it there (system/private.py). The installer checks the hash once more while it unpacks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from flash_doctor.errors import DoctorError, InstallFailed
from flash_doctor.system.files import LARGEST
from flash_doctor.system.owner import is_trusted
from flash_doctor.system.private import make_private
from flash_doctor.system.url import file_name, is_file, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.system.part_file import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where files may come from: `folders` of files, the `cache`, a `mirror` (address of a folder), the network.

    `shared`: a cache that others can write; what lies in it is copied, and taken when the copy has the promised hash.
    `refused`: why the cache that was named is not the one in use, for the user.
    """

    cache: Path
    shared: Path | None = None
    refused: str = ""
    folders: tuple[Path, ...] = ()
    mirror: str | None = None
    network: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFile:
    """A file by its address; `sha256` and `size` (bytes) as promised, None where nobody promises them."""

    url: str
    sha256: str | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        return file_name(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file on this disk, its hash, and whether it had to travel."""

    path: Path
    sha256: str
    size: int


def nearby(url: str, sha256: str | None, sources: Sources) -> Path | None:
    """The file on this machine, if it is here; one of that name in a folder is only taken when its hash fits."""
    name = file_name(url)
    if sha256 and (kept := _place(sources.cache, sha256, name)).is_file():
        return kept
    if is_file(url) and _fits(local := path_of(url), sha256):
        return local
    return in_folders(url, sha256, sources)


def in_folders(url: str, sha256: str | None, sources: Sources) -> Path | None:
    """The file of that name in one of the folders, absolute, when its hash fits (where there is one)."""
    name = file_name(url)
    there = [folder.resolve() / name for folder in sources.folders if name]
    return next((path for path in there if _fits(path, sha256)), None)


def _fits(path: Path, sha256: str | None) -> bool:
    """A file with holes may be of any size: no time is lost on one that no wheel could be."""
    return path.is_file() and path.stat().st_size <= LARGEST and (not sha256 or hash_of(path) == sha256)


def fetch(wanted: WantedFile, sources: Sources, progress: Progress | None = None) -> Fetched:
    """The file, with its hash; where none was promised it is learnt, and the caller decides about it.

    Raises:
        InstallFailed: it is not here and may not be fetched.
        HttpError: no source has it.
        HashMismatch: it is another file than was promised.
    """
    found = nearby(wanted.url, wanted.sha256, sources)
    if found is not None and _stays(found, sources.cache):
        return _fetched(found, wanted.sha256)
    if found is not None:
        return _arrive(found.as_uri(), wanted, sources.cache, progress)
    if copied := _from_shared(wanted, sources, progress):
        return copied
    if not sources.network:
        message = f"{wanted.name} is not in {', '.join(map(str, sources.folders)) or 'the cache'}"
        raise InstallFailed(message, advice="Make the bundle again, for this plan: `flash-doctor bundle DIR`")
    if sources.mirror and wanted.sha256:  # only a hash tells whether a mirror has the right file
        return _from_mirror(sources.mirror, wanted, sources.cache, progress)
    return _arrive(wanted.url, wanted, sources.cache, progress)


def _stays(path: Path, cache: Path) -> bool:
    """Whether nobody can exchange the file after it was hashed; of any other place a copy of ours is used."""
    return cache in path.parents or is_trusted(path)


def _fetched(path: Path, sha256: str | None) -> Fetched:
    return Fetched(path=path, sha256=sha256 or hash_of(path), size=path.stat().st_size)


def _from_shared(wanted: WantedFile, sources: Sources, progress: Progress | None) -> Fetched | None:
    """A copy out of the cache that others can write, if it has the promised hash."""
    from flash_doctor.system.download import HashMismatch
    from flash_doctor.system.http import HttpError

    if sources.shared is None or wanted.sha256 is None:
        return None
    there = _place(sources.shared, wanted.sha256, wanted.name)
    try:
        return _arrive(there.absolute().as_uri(), wanted, sources.cache, progress) if there.is_file() else None
    except (HttpError, HashMismatch):
        return None


def _from_mirror(mirror: str, wanted: WantedFile, cache: Path, progress: Progress | None) -> Fetched:
    """From the mirror; else from the publisher."""
    from flash_doctor.system.download import HashMismatch
    from flash_doctor.system.http import HttpError

    try:
        return _arrive(f"{mirror.rstrip('/')}/{quote(wanted.name)}", wanted, cache, progress)
    except (HttpError, HashMismatch) as fault:
        try:
            return _arrive(wanted.url, wanted, cache, progress)
        except DoctorError as error:
            error.evidence = (*error.evidence, f"the mirror, asked first: {fault.message}")
            raise


def _arrive(address: str, wanted: WantedFile, cache: Path, progress: Progress | None) -> Fetched:
    """From one address into the cache; whoever else fetches it at this moment is waited for, and what it got taken."""
    from flash_doctor.system.download import download

    waiting = make_private(cache / "incoming" / hashlib.sha256(address.encode()).hexdigest()[:16])
    with _alone(waiting / "lock"):
        if wanted.sha256 and (kept := _place(cache, wanted.sha256, wanted.name)).is_file():
            return _fetched(kept, wanted.sha256)
        sha256, size = wanted.sha256, wanted.size
        done = download(address, waiting / wanted.name, sha256=sha256, size=size, progress=progress)
        place = _place(cache, done.sha256, wanted.name)
        make_private(place.parent)
        done.path.replace(place)
        return Fetched(path=place, sha256=done.sha256, size=done.size)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until nobody else holds this lock, on this machine or another that shares the folder.

    A file, opened for writing: of a folder NFS would lock nothing. It stays, for whoever waits for a deleted one
    waits alone. Where a file system knows no locks the hash still tells what two at once have mixed up.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _place(cache: Path, sha256: str, name: str) -> Path:
    return cache / "files" / sha256 / name


def hash_of(path: Path) -> str:
    """The sha256 of a file, hex; one that was hashed a moment ago, and is the same since, is not read again."""
    status = path.stat()
    return _hash_of(path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@lru_cache(maxsize=4096)
def _hash_of(path: Path, _: tuple[int, ...]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
