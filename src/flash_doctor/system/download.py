"""Downloads that resume after a cut, are hashed while they stream, and never grow beyond what was promised."""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import DoctorError
from flash_doctor.system.files import LARGEST
from flash_doctor.system.http import ATTEMPTS, SLOWEST, HttpError, chunks, get, number, rest
from flash_doctor.system.part_file import CHUNK, PartFile
from flash_doctor.system.url import file_name, is_file, path_of, public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.system.http import Response
    from flash_doctor.system.part_file import Progress

_LOOK = "Look whether that file is there, and may be read."


class HashMismatch(DoctorError):
    """What was downloaded is not what was promised; the file is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A file that arrived whole: its sha256 (hex) and size in bytes."""

    path: Path
    sha256: str
    size: int


def download(
    url: str, destination: Path, *, sha256: str | None, size: int | None = None, progress: Progress | None = None
) -> Downloaded:
    """Fetch a file; an earlier part of it (`destination` + `.part`) is continued, a cut is resumed.

    Args:
        url: https or file address.
        destination: where the whole file goes; it appears by rename, when it is complete and its hash fits.
        sha256: the promised hash, or None when it is to be learnt (the caller decides whether that is allowed).
        size: the promised bytes; more are not taken.
        progress: told after every chunk.

    Raises:
        HttpError: after the last attempt failed.
        HashMismatch: the file arrived whole and is another one.
    """
    part = PartFile(destination.with_name(destination.name + ".part"), progress)
    if is_file(url):
        _copy_file(url, part)
    else:
        _fetch_part(url, part, LARGEST if size is None else size)
    done = Downloaded(path=destination, sha256=part.digest.hexdigest(), size=part.size)
    if (done.sha256 != sha256.lower()) if sha256 else (size not in (None, done.size)):
        part.discard()
        raise _another(url, done, sha256, size)
    part.path.replace(destination)
    return done


def _another(url: str, done: Downloaded, sha256: str | None, size: int | None) -> HashMismatch:
    message = f"{public(url)} is not the file that was promised"
    promised = f"promised sha256 {sha256}" if sha256 else f"promised {size} bytes"
    received = f"received sha256 {done.sha256}" if sha256 else f"received {done.size} bytes"
    advice = "Try again; if it stays so, the publisher replaced the file: do not install it."
    return HashMismatch(message, evidence=(promised, received), advice=advice)


def _fetch_part(url: str, part: PartFile, most: int) -> None:
    """Fetch into `part` until it is whole; an attempt faster than SLOWEST earns the next its patience."""
    idle, best, since = 0, part.size, time.monotonic()
    while failure := _continue_part(url, part, most):
        gained, now = part.size - best, time.monotonic()
        idle = 0 if gained > SLOWEST * (now - since) else idle + 1
        best, since = max(best, part.size), now
        if idle >= ATTEMPTS:
            raise failure
        rest(0 if gained > 0 else idle)
    part.tag.unlink(missing_ok=True)


def _continue_part(url: str, part: PartFile, most: int) -> HttpError | None:
    """Append what is missing; why it is not whole yet, or None when it is.

    Raises:
        HttpError: the server refuses, or it is another file; trying again is useless.
    """
    asked = {"Range": f"bytes={part.size}-", "If-Range": part.tag.read_text()} if part.tag.exists() else {}
    try:
        response = get(url, asked)
    except HttpError as error:
        if not asked or error.status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        part.restart()  # all of it is there, or more than all: only the whole file can tell
        return error
    try:
        with response:
            _append(response, url, part, most)
    except HttpError as error:
        if error.again:
            return error
        part.discard()
        raise
    return None


def _append(response: Response, url: str, part: PartFile, most: int) -> None:
    """The answer's bytes behind those that are there, or in their place."""
    encoded = _encoded(response, url)
    if response.status_code != HTTPStatus.PARTIAL_CONTENT:
        part.restart()
        if not encoded:
            _remember_validator(response, part.tag)
    elif encoded or _start(response) != part.size:
        part.restart()
        message = f"{public(url)} answered with another piece of the file than was asked for"
        raise HttpError(message, again=True)
    length = None if encoded else number(response.headers.get("Content-Length"))
    expected = None if length is None else part.size + length
    if expected is not None and expected > most:
        raise _too_much(url, most)
    part.write(_at_most(most - part.size, chunks(response, url, decode=encoded), _too_much(url, most)), expected)
    if expected is not None and part.size != expected:
        message = f"{public(url)}: {part.size} bytes came, {expected} were announced"
        raise HttpError(message, again=True)


def _at_most(room: int, body: Iterator[bytes], too_much: HttpError) -> Iterator[bytes]:
    for chunk in body:
        room -= len(chunk)
        if room < 0:
            raise too_much
        yield chunk


def _too_much(url: str, most: int) -> HttpError:
    """An answer's fault, not the network's: the status tells so."""
    message = f"{public(url)} answers with more than the {most} bytes that were promised"
    advice = "The publisher may have replaced the file: do not install it."
    return HttpError(message, status=HTTPStatus.OK, advice=advice)


def _encoded(response: Response, url: str) -> bool:
    """Whether somebody on the way packed the body, unasked; the encoding that .gz files are given is their own."""
    encoding = response.headers.get("Content-Encoding", "identity")
    return encoding.lower() != "identity" and not file_name(url).endswith((".gz", ".tgz"))


def _start(response: Response) -> int | None:
    """The first byte of a partial answer."""
    return number(response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0])


def _remember_validator(response: Response, tag: Path) -> None:
    """Keep what lets the server tell that the file is still the same; a weak one cannot (RFC 9110, 13.1.5)."""
    validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
    if validator and not validator.startswith("W/"):
        tag.write_text(validator)


def _copy_file(url: str, part: PartFile) -> None:
    source = path_of(url)
    part.restart()
    if source.exists() and not source.is_file():
        message = f"{public(url)} is no file"
        raise HttpError(message, advice=_LOOK)
    try:
        with source.open("rb") as file:
            part.write(iter(lambda: file.read(CHUNK), b""), source.stat().st_size)
    except OSError as error:
        message = f"{public(url)} could not be copied: {error.strerror}"
        raise HttpError(message, advice=_LOOK) from error
