"""Random access to a member of a zip file in constant memory, without unpacking it anywhere.

Deflate can only be read forward. While it is, the state of the decompressor (some 40 kB) is kept now and then, so
that going back costs a piece of the stream and not all of it.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from flash_doctor.errors import BadBinary
from flash_doctor.system.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PAGE = 1 << 20
_PAGES_KEPT = 8
_STATES_KEPT = 128
_CHUNK = 1 << 16
# what deflate can make of one byte, at most (zlib's technical details)
_LARGEST_RATIO = 1032


class Source(Protocol):
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

    def __init__(self, source: Source, start: int, size: int, name: str) -> None:
        super().__init__(size, name)
        self._source, self._start = source, start

    def _bring(self, page: int) -> None:
        length = min(_PAGE, self.size - page * _PAGE)
        self._keep(page, self._source.read(self._start + page * _PAGE, length))


class Inflated(_Pages):
    """A deflated member: `compressed` bytes at `start` of its source become `size` bytes."""

    def __init__(self, source: Source, start: int, compressed: int, size: int, name: str) -> None:
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
