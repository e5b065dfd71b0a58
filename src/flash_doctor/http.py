"""The only door to requests: bounded JSON, downloads that resume and are hashed while they stream, range reads.

Only https and file addresses are opened; plain http is allowed to this machine alone (a local mirror).
Proxies and certificates come from the environment, as requests reads them.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

import requests

from flash_doctor.errors import BadInput, DoctorError
from flash_doctor.part_file import CHUNK, PartFile, Progress as Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_SECONDS, SILENCE_SECONDS = 10.0, 60.0
ATTEMPTS = 4
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
# answers that a later try may mend (RFC 9110, 15.5 and 15.6; RFC 6585 for 429)
_AGAIN = {429, 500, 502, 503, 504}


_LOOK = "Look whether that file is there, and may be read."


class HttpError(DoctorError):
    """An address could not be read; `status` is the server's answer, None when there was none."""

    def __init__(self, message: str, *, status: int | None = None, advice: str = "") -> None:
        super().__init__(message, advice=advice)
        self.status = status


class HashMismatch(DoctorError):
    """What was downloaded is not what was promised; the file is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A file that arrived whole: its sha256 (hex) and size in bytes."""

    path: Path
    sha256: str
    size: int


def public(url: str) -> str:
    """The address without user name, password and query: fit to be shown and stored."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return parts._replace(netloc=host + port, query="", fragment="").geturl()


def get_json(url: str, *, limit: int = 64 << 20, headers: dict[str, str] | None = None) -> Any:
    """Parsed JSON of at most `limit` bytes.

    Raises:
        HttpError: no answer, an error status, or more than `limit` bytes.
        BadInput: the answer is not JSON.
    """
    text = get_bytes(url, limit=limit, headers=headers)
    try:
        return json.loads(text)
    except ValueError as error:
        message = f"{public(url)} did not answer with JSON: {error}"
        raise BadInput(message) from error


def get_bytes(url: str, *, limit: int, headers: dict[str, str] | None = None) -> bytes:
    """The body at an address, at most `limit` bytes of it."""
    if _local_file(url):
        return _read_file(url, limit)
    with _get(url, headers or {}) as response:
        return _body(response, url, limit)


def get_changed(url: str, *, limit: int, headers: dict[str, str], etag: str) -> tuple[bytes, str] | None:
    """The body at an address and its validator; None while it is still the one that `etag` stands for.

    Raises:
        HttpError: no answer, an error status, or more than `limit` bytes.
    """
    with _get(url, headers | ({"If-None-Match": etag} if etag else {})) as response:
        if response.status_code == HTTPStatus.NOT_MODIFIED:
            return None
        return _body(response, url, limit), response.headers.get("ETag", "")


def _body(response: requests.Response, url: str, limit: int) -> bytes:
    body = bytearray()
    for chunk in _chunks(response, url):
        body += chunk
        if len(body) > limit:
            message = f"{public(url)} answers with more than {limit} bytes"
            raise HttpError(message)
    return bytes(body)


def download(url: str, destination: Path, *, sha256: str | None, progress: Progress | None = None) -> Downloaded:
    """Fetch a file; an earlier part of it (`destination` + `.part`) is continued, a cut is resumed.

    Args:
        url: https or file address.
        destination: where the whole file goes; it appears by rename, when it is complete and its hash fits.
        sha256: the promised hash, or None when it is to be learnt (the caller decides whether that is allowed).
        progress: told after every chunk.

    Raises:
        HttpError: after the last attempt failed.
        HashMismatch: the file arrived whole and is another one.
    """
    part = PartFile(destination.with_name(destination.name + ".part"), progress)
    if _local_file(url):
        _copy_file(url, part)
    else:
        _fetch_part(url, part)
    digest = part.digest.hexdigest()
    if sha256 is not None and digest != sha256.lower():
        part.discard()
        message = f"{public(url)} is not the file that was promised"
        raise HashMismatch(
            message,
            evidence=(f"promised sha256 {sha256}", f"received sha256 {digest}"),
            advice="Try again; if it stays so, the publisher replaced the file: do not install it.",
        )
    part.path.replace(destination)
    return Downloaded(path=destination, sha256=digest, size=part.size)


class RangeReader:
    """Random access to a file behind an address by HTTP ranges; `received` counts the bytes that came."""

    def __init__(self, url: str) -> None:
        self.url, self.received = url, 0
        with _get(url, {"Range": "bytes=0-0"}) as response:
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if response.status_code != HTTPStatus.PARTIAL_CONTENT or not total.isdigit():
                message = f"{public(url)}: the server does not answer ranges, the whole file would have to be fetched"
                raise HttpError(message, status=response.status_code)
            self.size = int(total)

    def read(self, start: int, length: int) -> bytes:
        """Exactly the bytes [start, start + length), cut at the end of the file."""
        return b"".join(self.stream(start, length))

    def stream(self, start: int, length: int) -> Iterator[bytes]:
        """The same, chunk by chunk, in constant memory."""
        end = min(start + length, self.size)
        if start >= end:
            return
        with _get(self.url, {"Range": f"bytes={start}-{end - 1}"}) as response:
            for chunk in _chunks(response, self.url):
                self.received += len(chunk)
                yield chunk


def _check_scheme(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    message = f"{public(url)}: only https and file addresses are opened"
    raise BadInput(message)


def _check_redirect(response: requests.Response, **_: object) -> None:
    """An https address that sends us on to another scheme would give a file that anybody could have changed."""
    if response.is_redirect:
        _check_scheme(urljoin(response.url, response.headers["Location"]))


def _get(url: str, headers: dict[str, str]) -> requests.Response:
    """A streamed answer; connection failures and "try again" statuses are tried again with growing pauses."""
    _check_scheme(url)
    failure = HttpError(f"{public(url)} could not be read")
    for attempt in range(ATTEMPTS):
        time.sleep(0.05 * 4**attempt if attempt else 0.0)
        try:
            response = requests.get(
                url,
                headers={"Accept-Encoding": "identity", **headers},
                stream=True,
                timeout=(CONNECT_SECONDS, SILENCE_SECONDS),
                hooks={"response": _check_redirect},
            )
        except requests.RequestException as error:
            failure = HttpError(f"{public(url)} could not be reached: {_reason(error)}")
            continue
        if response.ok:
            return response
        response.close()
        failure = HttpError(
            f"{public(url)} answered {response.status_code} {response.reason}", status=response.status_code
        )
        if response.status_code not in _AGAIN:
            break
    raise failure


def _reason(error: Exception) -> str:
    """The innermost cause: requests and urllib3 wrap the sentence that helps in three others."""
    while error.__context__ is not None and isinstance(error.__context__, Exception):
        error = error.__context__
    return str(error).rpartition(": ")[2] or type(error).__name__


def _chunks(response: requests.Response, url: str) -> Iterator[bytes]:
    try:
        yield from response.iter_content(CHUNK)
    except requests.RequestException as error:
        message = f"{public(url)}: the connection was cut: {_reason(error)}"
        raise HttpError(message) from error


def _fetch_part(url: str, part: PartFile) -> None:
    """Fetch into `part` until it is whole; every attempt that brought bytes earns the next one its patience."""
    idle = 0
    while True:
        before = part.size
        failure = _continue_part(url, part)
        if failure is None:
            part.tag.unlink(missing_ok=True)
            return
        idle = 0 if part.size > before else idle + 1
        if idle >= ATTEMPTS:
            raise failure


def _continue_part(url: str, part: PartFile) -> HttpError | None:
    """Append what is missing; why it is not whole yet, or None when it is."""
    headers = {"Range": f"bytes={part.size}-", "If-Range": part.tag.read_text()} if part.tag.exists() else {}
    with _get(url, headers) as response:
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            part.restart()
            _remember_validator(response, part.tag)
        length = response.headers.get("Content-Length", "")
        expected = part.size + int(length) if length.isdigit() else None
        try:
            part.write(_chunks(response, url), expected)
        except HttpError as error:
            return error
    if expected is None or part.size == expected:
        return None
    return HttpError(f"{public(url)}: {part.size} bytes came, {expected} were announced")


def _remember_validator(response: requests.Response, tag: Path) -> None:
    """Keep what lets the server tell that the file is still the same; a weak one cannot (RFC 9110, 13.1.5)."""
    validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
    if validator and not validator.startswith("W/"):
        tag.write_text(validator)


def _local_file(url: str) -> bool:
    return urlsplit(url).scheme == "file"


def _path_of(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def _read_file(url: str, limit: int) -> bytes:
    try:
        with _path_of(url).open("rb") as file:
            return file.read(limit)
    except OSError as error:
        message = f"{url} could not be read: {error.strerror}"
        raise HttpError(message) from error


def _copy_file(url: str, part: PartFile) -> None:
    source = _path_of(url)
    part.restart()
    if source.exists() and not source.is_file():
        message = f"{url} is no file"
        raise HttpError(message, advice=_LOOK)
    try:
        with source.open("rb") as file:
            part.write(iter(lambda: file.read(CHUNK), b""), source.stat().st_size)
    except OSError as error:
        message = f"{url} could not be copied: {error.strerror}"
        raise HttpError(message, advice=_LOOK) from error
