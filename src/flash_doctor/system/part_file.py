"""The part of a download that is there already: kept beside the file to be, hashed as it grows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

Progress: TypeAlias = Callable[[int, "int | None"], None]
"""Called with the bytes that are there and the bytes expected (None where the server does not say)."""
CHUNK = 1 << 16  # what a cut connection can cost again


class PartFile:
    """The part of a file that is there: hashed as it grows, so that nothing is read twice."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        self.path, self.progress = path, progress
        self.tag = path.with_name(path.name + ".tag")
        self.digest, self.size = hashlib.sha256(), 0
        if self.tag.exists():
            self._take_over()

    def restart(self) -> None:
        self.digest, self.size = hashlib.sha256(), 0
        self.tag.unlink(missing_ok=True)

    def discard(self) -> None:
        self.restart()
        self.path.unlink(missing_ok=True)

    def _take_over(self) -> None:
        with _opened(self.path, os.O_RDONLY | os.O_CREAT, "rb") as file:
            while chunk := file.read(CHUNK):
                self.digest.update(chunk)
                self.size += len(chunk)

    def write(self, chunks: Iterator[bytes], expected: int | None) -> None:
        with _opened(self.path, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if self.size else os.O_TRUNC), "wb") as file:
            for chunk in chunks:
                file.write(chunk)
                self.digest.update(chunk)
                self.size += len(chunk)
                if self.progress:
                    self.progress(self.size, expected)


def _opened(path: Path, flags: int, mode: str) -> IO[bytes]:
    """Never through a link: what it leads to would be overwritten."""
    return os.fdopen(os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), mode)
