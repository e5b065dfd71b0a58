"""Random access to a file behind an address by HTTP ranges, none of which is believed to be what was asked for."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from flash_doctor.system.files import LARGEST
from flash_doctor.system.http import HttpError, chunks, get, number
from flash_doctor.system.redact import cut
from flash_doctor.system.url import public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.system.http import Response

_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)", re.IGNORECASE)
_TELLING = ("Content-Range", "Content-Length", "Content-Encoding")


class RangeReader:
    """A file of `size` bytes; `received` counts the bytes that came.

    Each answer must be the piece that was asked for, of a file of the same size, neither packed nor shorter, and is
    read no further than its end.

    Raises:
        HttpError: the server does not answer ranges, or with another piece.
    """

    def __init__(self, url: str) -> None:
        self.url, self.received = url, 0
        with get(url, {"Range": "bytes=0-0"}) as response:
            first, last, total = _span(response)
            if response.status_code != HTTPStatus.PARTIAL_CONTENT or total is None:
                message = f"{public(url)}: the server does not answer ranges, the whole file would have to be fetched"
                raise HttpError(message, status=response.status_code)
            if (first, last) != (0, 0) or not 0 < total <= LARGEST:
                raise _another(url, (0, 0), response)
            self.size = total

    def read(self, start: int, length: int) -> bytes:
        """Exactly the bytes [start, start + length), cut at the end of the file."""
        return b"".join(self.stream(start, length))

    def stream(self, start: int, length: int) -> Iterator[bytes]:
        """The same, chunk by chunk, in constant memory."""
        end = min(start + length, self.size)
        if start >= end:
            return
        left = end - start
        with get(self.url, {"Range": f"bytes={start}-{end - 1}"}) as response:
            self._check(response, start, end)
            for chunk in chunks(response, self.url, decode=False):
                self.received += len(chunk)
                left -= len(chunk)
                if left < 0:
                    raise _another(self.url, (start, end - 1), response, "with more behind it")
                yield chunk
        if left:
            message = f"{public(self.url)}: the answer ended {left} bytes before it was whole"
            raise HttpError(message, again=True)

    def _check(self, response: Response, start: int, end: int) -> None:
        right = response.status_code == HTTPStatus.PARTIAL_CONTENT and _span(response) == (start, end - 1, self.size)
        plain = response.headers.get("Content-Encoding", "identity").lower() == "identity"
        announced = response.headers.get("Content-Length")
        if not (right and plain and announced in {None, str(end - start)}):
            raise _another(self.url, (start, end - 1), response)


def _span(response: Response) -> tuple[int | None, int | None, int | None]:
    """First byte, last byte and size of the whole file in a Content-Range (RFC 9110, 14.4)."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return (number(match[1]), number(match[2]), number(match[3])) if match else (None, None, None)


def _another(url: str, asked: tuple[int, int], response: Response, more: str = "") -> HttpError:
    said = [f"{name}: {cut(value, 80)}" for name in _TELLING if (value := response.headers.get(name))]
    message = f"{public(url)} answered with another piece of the file than was asked for"
    answer = ", ".join([str(response.status_code), *said, *([more] if more else [])])
    evidence = (f"asked for bytes {asked[0]} to {asked[1]}", f"answered {answer}")
    return HttpError(message, status=response.status_code, evidence=evidence)
