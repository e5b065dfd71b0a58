"""Bytes at random offsets: what every reader here works on, be it a mapped file or a member of a wheel."""

from __future__ import annotations

import mmap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from flash_doctor.errors import BadBinary
from flash_doctor.system.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Buffer(Protocol):
    """Read-only bytes; slices are cheap where they are small, nothing reads the whole."""

    def __len__(self) -> int: ...

    def __getitem__(self, where: slice, /) -> bytes: ...

    def find(self, wanted: bytes, start: int, end: int, /) -> int: ...


@contextmanager
def mapped(path: Path) -> Iterator[Buffer]:
    """The file as a memory map: only the pages that are looked at are read.

    Raises:
        BadBinary: it cannot be opened, or is no regular file with something in it.
    """
    try:
        with open_regular(path) as file:
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        message = f"{path} could not be read: {getattr(error, 'strerror', None) or error}"
        raise BadBinary(message) from error
    with view:
        yield view
