"""Following one growing file: only what is new is read, in pieces, through rotation and truncation."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

CHUNK = 1 << 20
LONGEST_LINE = 1 << 20


@dataclass
class Tail:
    """One file, from its beginning; `position` is the byte up to which it was read.

    A line longer than LONGEST_LINE bytes is dropped whole: no log line of a trainer is.
    """

    path: Path
    stream: IO[bytes] | None = None
    position: int = 0
    rest: bytearray = field(default_factory=bytearray)
    dropping: bool = False

    def lines(self) -> list[bytes] | None:
        """Complete lines of the next CHUNK bytes; None when nothing is new. A carriage return ends a line as well.

        Raises:
            OSError: it cannot be opened or read; a file that is not there (any more) has nothing new.
        """
        if self.stream is None and not self._open():
            return None
        assert self.stream is not None
        self._from_the_start_if_cut()
        chunk = self.stream.read(CHUNK)
        if chunk:
            self.position += len(chunk)
            return self._split(chunk)
        return self._last_of_rotated()

    def last(self) -> list[bytes]:
        """What stands behind the last line's end: a line, when nothing more will come."""
        rest, self.rest = bytes(self.rest), bytearray()
        return [rest] if rest and not self.dropping else []

    @property
    def written(self) -> float:
        """When the file was changed last, in seconds since 1970; 0 where that is not known."""
        with suppress(OSError):  # a network file system may have lost it
            return os.fstat(self.stream.fileno()).st_mtime if self.stream else 0.0
        return 0.0

    def close(self) -> None:
        if self.stream:
            self.stream.close()
        self.stream = None

    def _open(self) -> bool:
        with suppress(FileNotFoundError, NotADirectoryError):
            # not blocking: a named pipe without a writer would hold us
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self.stream = os.fdopen(descriptor, "rb", buffering=0)
            self.position = 0
        return self.stream is not None

    def _from_the_start_if_cut(self) -> None:
        """A file shorter than what was read of it was truncated: it begins anew."""
        assert self.stream is not None
        if os.fstat(self.stream.fileno()).st_size < self.position:
            self.stream.seek(0)
            self.position, self.dropping = 0, False
            self.rest.clear()

    def _last_of_rotated(self) -> list[bytes] | None:
        """At the end: another file of this name is the one to follow from now on."""
        assert self.stream is not None
        ours = os.fstat(self.stream.fileno())
        try:
            named = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino):
            return None
        self.close()
        last, self.dropping = self.last(), False
        return last

    def _split(self, chunk: bytes) -> list[bytes]:
        lines = (bytes(self.rest) + chunk).replace(b"\r", b"\n").split(b"\n")
        self.rest = bytearray(lines.pop())
        if lines and self.dropping:
            lines, self.dropping = lines[1:], False
        if len(self.rest) > LONGEST_LINE:
            self.rest, self.dropping = bytearray(), True
        return lines
