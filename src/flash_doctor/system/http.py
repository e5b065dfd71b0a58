"""The only door to requests: bounded answers; downloads are in download.py, range reads in ranges.py.

Which addresses are opened is said in system/url.py. Proxies, logins (.netrc, those of
pip's and uv's indexes) and certificates come from the environment.
"""

from __future__ import annotations

import email.utils
import os
import re
import threading
import time
import zlib
from functools import partial
from http import HTTPStatus
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import requests
import urllib3

from flash_doctor.errors import DoctorError
from flash_doctor.system.files import read_regular
from flash_doctor.system.http_errors import authorities, reason, trouble_of
from flash_doctor.system.part_file import CHUNK
from flash_doctor.system.redact import cut
from flash_doctor.system.url import Address, is_file, login_for, path_of, public, redirected, to_open

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CONNECT_SECONDS, SILENCE_SECONDS = 10.0, 60.0
ANSWER_SECONDS = 180.0  # until the headers are there
SLOWEST = 1024  # bytes per second; less than that for SILENCE_SECONDS is silence
ATTEMPTS, PAUSE_SECONDS, LONGEST_PAUSE, REDIRECTS = 4, 0.05, 60.0, 10
# answers that a later try may mend (RFC 9110, 15.5 and 15.6; RFC 6585 for 429)
_AGAIN = {429, 500, 502, 503, 504}
_LOGIN_WANTED = {401, 403}
_LOGIN = "If it wants a user name and a password, put them into ~/.netrc: machine HOST login USER password PASSWORD"


Response = requests.Response


class HttpError(DoctorError):
    """An address could not be read.

    `status` is the server's answer, None when there was none; `pause` the seconds that it asks to wait; where
    `again` is False another try would end in the same way.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        evidence: Sequence[str] = (),
        advice: str = "",
        again: bool = False,
        pause: float | None = None,
    ) -> None:
        super().__init__(message, evidence=evidence, advice=advice)
        self.status, self.again, self.pause = status, again, pause


def get_bytes(url: str, *, limit: int, headers: dict[str, str] | None = None) -> bytes:
    """The body at an address, at most `limit` bytes of it."""
    if is_file(url):
        return _read_file(url, limit)
    with get(url, headers or {}) as response:
        return _body(response, url, limit)


def get_changed(url: str, *, limit: int, headers: dict[str, str], etag: str) -> tuple[bytes, str] | None:
    """The body at an address and its validator; None while it is still the one that `etag` stands for.

    Raises:
        HttpError: no answer, an error status, or more than `limit` bytes.
    """
    with get(url, headers | ({"If-None-Match": etag} if etag else {})) as response:
        if response.status_code == HTTPStatus.NOT_MODIFIED:
            return None
        return _body(response, url, limit), response.headers.get("ETag", "")


def _body(response: Response, url: str, limit: int) -> bytes:
    body = bytearray()
    for chunk in chunks(response, url):
        body += chunk
        if len(body) > limit:
            message = f"{public(url)} answers with more than {limit} bytes"
            raise HttpError(message)
    return bytes(body)


class _Session(requests.Session):
    """Follows no redirect: requests reads the body of each into memory, whole, even where it is told not to follow."""

    def resolve_redirects(self, *_args: object, **_options: object) -> Iterator[Response]:
        return iter(())


def get(url: str, headers: dict[str, str]) -> Response:
    """A streamed answer; connection failures and "try again" statuses are tried again with growing pauses."""
    address = to_open(url)
    attempt = 1
    while True:
        try:
            return _ask(address, headers)
        except HttpError as error:
            if not error.again or attempt == ATTEMPTS:
                raise
            rest(attempt, error.pause)
        attempt += 1


def rest(attempt: int, asked: float | None = None) -> None:
    time.sleep(PAUSE_SECONDS * 4**attempt if asked is None else asked)


def _ask(address: Address, headers: dict[str, str]) -> Response:
    """The answer behind all redirects, never from https to anything else; of what is in between no body is read."""
    asked = address.opened
    for _ in range(REDIRECTS + 1):
        response = _within(ANSWER_SECONDS, partial(_answer, address, headers), address)
        target = _Session().get_redirect_target(response)
        if target is None:
            break
        response.close()
        address = _sent_on(address, target, response)
    else:
        message = f"{public(asked)} sends in circles: more than {REDIRECTS} redirects"
        raise HttpError(message, status=HTTPStatus.LOOP_DETECTED, advice="Tell the publisher.")
    if response.ok:
        return response
    response.close()
    raise _refusal(address.opened, response)


def _sent_on(address: Address, target: str, response: Response) -> Address:
    onward = redirected(address.opened, target)
    if onward is None:
        message = f"{address.shown} sends on to {public(target)}, which is not https"
        advice = "It is not followed: on the way everybody could exchange the file. Tell the publisher."
        raise HttpError(message, status=response.status_code, advice=advice)
    return to_open(onward)


def _within(seconds: float, ask: Callable[[], Response], address: Address) -> Response:
    """What `ask` answers. A timeout of requests is for one piece of what comes: headers may drip in for ever."""
    told: SimpleQueue[Response | Exception] = SimpleQueue()

    def work() -> None:
        try:
            told.put(ask())
        except Exception as error:  # raised again by who waits
            told.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        found = told.get(timeout=seconds)
    except Empty:
        message = f"{address.shown} gave no whole answer within {seconds:.0f} seconds"
        raise HttpError(message, again=True) from None
    if isinstance(found, Exception):
        raise found
    return found


def _answer(address: Address, headers: dict[str, str]) -> Response:
    """One answer; what is asked is made from the parts that were judged, so that nobody takes it apart anew."""
    url = address.opened
    trusted = authorities(os.environ)
    try:
        return _Session().get(
            url,
            headers={"Accept-Encoding": "identity", **headers},
            stream=True,
            allow_redirects=False,
            timeout=(CONNECT_SECONDS, SILENCE_SECONDS),
            auth=login_for(address, os.environ),
            verify=trusted.path or True,
            proxies={"http": ""},  # plain http is for this machine alone: it never leaves it
        )
    except requests.RequestException as error:
        trouble = trouble_of(error, trusted, _proxy(url))
        message = f"{public(url)} could not be reached: {trouble.what}"
        again = trouble.again and not isinstance(error, ValueError)  # its ValueErrors are about the address
        raise HttpError(message, evidence=trouble.evidence, advice=trouble.advice, again=again) from error


def _proxy(url: str) -> str | None:
    return requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)) or None


def _refusal(url: str, response: Response) -> HttpError:
    """An error status, with what to do about it."""
    status, pause = response.status_code, _pause(response.headers.get("Retry-After", ""))
    message = f"{public(url)} answered {status} {cut(response.reason, 80)}"
    if pause is not None and pause > LONGEST_PAUSE:
        return HttpError(message, status=status, advice=f"It asks to wait: try again in {pause / 60:.0f} minutes.")
    advice = _LOGIN if status in _LOGIN_WANTED else ""
    return HttpError(message, status=status, advice=advice, again=status in _AGAIN, pause=pause)


def _pause(retry_after: str) -> float | None:
    """The seconds in a Retry-After header: a number, or a date (RFC 9110, 10.2.3)."""
    if (seconds := number(retry_after)) is not None:
        return float(seconds)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def number(text: str | None) -> int | None:
    """A header's number; what is none, or longer than any size there is, counts as not said."""
    return int(text) if text and re.fullmatch("[0-9]{1,40}", text) else None


def chunks(response: Response, url: str, *, decode: bool = True) -> Iterator[bytes]:
    """The body as it comes in, at most CHUNK bytes at once; with `decode`, unpacked where somebody packed it.

    Raises:
        HttpError: it was cut, or came slower than SLOWEST for SILENCE_SECONDS; with `decode`, it is packed in another
            way than gzip.
    """
    encoding = response.headers.get("Content-Encoding", "identity").lower() if decode else "identity"
    if encoding == "identity":
        yield from _raw(response, url)
    elif encoding in {"gzip", "x-gzip"}:
        yield from _unpacked(_raw(response, url), url)
    else:
        message = f"{public(url)} answers with a body packed as {cut(encoding, 40)!r}, which was not asked for"
        raise HttpError(message)


def _unpacked(packed: Iterator[bytes], url: str) -> Iterator[bytes]:
    """A thousandth of what comes may be all that it takes to fill the memory, so it is unpacked in pieces."""
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        for piece in packed:
            while piece and not inflater.eof:
                if data := inflater.decompress(piece, CHUNK):
                    yield data
                piece = inflater.unconsumed_tail
    except zlib.error as error:
        message = f"{public(url)}: the packed body is damaged: {error}"
        raise HttpError(message, again=True) from error
    if not inflater.eof:
        message = f"{public(url)}: the packed body ends too early"
        raise HttpError(message, again=True)


def _raw(response: Response, url: str) -> Iterator[bytes]:
    since, count = time.monotonic(), 0
    try:
        while chunk := response.raw.read1(CHUNK, decode_content=False):
            yield chunk
            count += len(chunk)
            if time.monotonic() - since < SILENCE_SECONDS:
                continue
            if count < SLOWEST * SILENCE_SECONDS:
                message = f"{public(url)}: only {count} bytes came in {SILENCE_SECONDS:.0f} seconds"
                raise HttpError(message, again=True)
            since, count = time.monotonic(), 0
    except (urllib3.exceptions.HTTPError, requests.RequestException) as error:
        message = f"{public(url)}: the connection was cut: {reason(error)}"
        raise HttpError(message, again=True) from error


def _read_file(url: str, limit: int) -> bytes:
    try:
        return read_regular(path_of(url), limit)
    except OSError as error:
        message = f"{url} could not be read: {error.strerror}"
        raise HttpError(message) from error
