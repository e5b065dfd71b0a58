"""Wheels and source distributions, from the nearest place that has them: a folder, the cache, a mirror, the publisher.

The cache keeps files under their hash (`files/<sha256>/<name>`): a file that is there is the file that is meant. The
installer checks the hash once more while it unpacks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from flash_doctor.errors import BadInput, InstallFailed

if TYPE_CHECKING:
    from flash_doctor.http import Downloaded, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where files may come from: `folders` of files, the `cache`, a `mirror` (address of a folder), the network."""

    cache: Path
    folders: tuple[Path, ...] = ()
    mirror: str | None = None
    network: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file on this disk, its hash, and whether it had to travel."""

    path: Path
    sha256: str
    size: int


def file_name(url: str) -> str:
    """The file's name in an address; a quoted slash in it leads nowhere."""
    return unquote(urlsplit(url).path).rpartition("/")[2]


def check_address(url: str) -> None:
    """Raises BadInput for an address that cannot be taken apart, or that names no file."""
    try:
        port = urlsplit(url).port
        name = file_name(url)
    except ValueError as error:
        message = f"{url!r} is no address: {error}"
        raise BadInput(message) from error
    if port == 0 or name in {"", ".", ".."} or not name.isprintable():
        message = f"{shown(url)!r} names no file"
        raise BadInput(message)


def shown(url: str) -> str:
    """The address as it may be shown and stored: without user name, password and query."""
    if not any(mark in url for mark in "@?#"):
        return url
    from flash_doctor.http import public

    return public(url)


def nearby(url: str, sha256: str | None, sources: Sources) -> Path | None:
    """The file on this machine, if it is here; one of that name in a folder is only taken when its hash fits."""
    name, parts = file_name(url), urlsplit(url)
    if sha256 and (kept := _place(sources.cache, sha256, name)).is_file():
        return kept
    # the address itself is the promise, and the installer checks the hash
    if parts.scheme == "file" and (local := Path(unquote(parts.path))).is_file():
        return local
    inside = [folder / name for folder in sources.folders]
    return next((path for path in inside if path.is_file() and (not sha256 or hash_of(path) == sha256)), None)


def fetch(url: str, sha256: str | None, sources: Sources, progress: Progress | None = None) -> Fetched:
    """The file, with its hash; where none was promised it is learnt, and the caller decides about it.

    Raises:
        InstallFailed: it is not here and may not be fetched.
        HttpError: no source has it.
        HashMismatch: it is another file than was promised.
    """
    found = nearby(url, sha256, sources)
    if found is not None:
        return Fetched(path=found, sha256=sha256 or hash_of(found), size=found.stat().st_size)
    if not sources.network:
        message = f"{file_name(url)} is not in {', '.join(map(str, sources.folders)) or 'the cache'}"
        raise InstallFailed(message, advice="Make the bundle again, for this plan: flash-doctor bundle DIR")
    return _download(url, sha256, sources, progress)


def _download(url: str, sha256: str | None, sources: Sources, progress: Progress | None) -> Fetched:
    from flash_doctor.http import download

    name = file_name(url)
    waiting = sources.cache / "incoming" / hashlib.sha256(url.encode()).hexdigest()[:16]
    waiting.mkdir(parents=True, exist_ok=True)
    mirrored = _from_mirror(name, sha256, waiting, sources.mirror, progress)
    done = mirrored or download(url, waiting / name, sha256=sha256, progress=progress)
    place = _place(sources.cache, done.sha256, name)
    place.parent.mkdir(parents=True, exist_ok=True)
    done.path.replace(place)
    waiting.rmdir()
    return Fetched(path=place, sha256=done.sha256, size=done.size)


def _from_mirror(
    name: str, sha256: str | None, waiting: Path, mirror: str | None, progress: Progress | None
) -> Downloaded | None:
    """From the mirror, when there is one and a hash tells that it has the right file."""
    from flash_doctor.http import HashMismatch, HttpError, download

    if mirror is None or sha256 is None:
        return None
    try:
        return download(f"{mirror.rstrip('/')}/{quote(name)}", waiting / name, sha256=sha256, progress=progress)
    except (HttpError, HashMismatch):
        return None


def _place(cache: Path, sha256: str, name: str) -> Path:
    return cache / "files" / sha256 / name


def hash_of(path: Path) -> str:
    """The sha256 of a file, hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
