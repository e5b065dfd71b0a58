"""The part of a download that is there already: kept beside the file to be, hashed as it grows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

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
        self.path.touch()
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK):
                self.digest.update(chunk)
                self.size += len(chunk)

    def write(self, chunks: Iterator[bytes], expected: int | None) -> None:
        with self.path.open("ab" if self.size else "wb") as file:
            for chunk in chunks:
                file.write(chunk)
                self.digest.update(chunk)
                self.size += len(chunk)
                if self.progress:
                    self.progress(self.size, expected)
