"""Following one growing file: only what is new is read, in pieces, through rotation and truncation."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from flash_doctor.watch.records import LogReader
from flash_doctor.watch.trainer_files import STATE, TrainerState, Unreadable, checkpoints, read_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.watch.records import LogRecord


CHUNK = 1 << 20
LONGEST_LINE = 1 << 20


@dataclass
class FollowedFile:
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


LOGS = ("*.log", "*.jsonl", "*.out")
MOST_LOGS = 32
_TRIES = 3
_PIECES = 64  # of tail.CHUNK bytes that are read of one log before the disk is looked at again


@dataclass
class LogSource:
    """One log or metrics file, followed."""

    path: Path
    tail: FollowedFile
    reader: LogReader = field(default_factory=LogReader)
    behind: bool = False
    grew: bool = False

    @classmethod
    def of(cls, path: Path) -> LogSource:
        return cls(path=path, tail=FollowedFile(path))

    def new(self) -> Iterator[LogRecord]:
        """Records in what was written since the last time, or a bounded piece of it: then `behind` is set.

        Raises:
            OSError: the file cannot be read.
        """
        self.grew = self.behind = False
        for _ in range(_PIECES):
            lines = self.tail.lines()
            if lines is None:
                return
            self.grew = True
            yield from self.reader.records(lines)
        self.behind = True

    @property
    def written(self) -> float:
        """When the file was changed last, in seconds since 1970; 0 where there is none."""
        return self.tail.written

    def last(self) -> Iterator[LogRecord]:
        """The record in a last line without an end, when nothing more will come."""
        return self.reader.records(self.tail.last())

    def close(self) -> None:
        self.tail.close()


@dataclass
class StateSource:
    """trainer_state.json: one file, or the newest of a run's folder and its checkpoints."""

    path: Path
    signature: tuple[Path, int, int, int] | None = None
    taken: int = 0
    step: int | None = None
    state: TrainerState | None = None
    failures: int = 0
    behind: bool = False
    grew: bool = False

    def new(self) -> Iterator[LogRecord]:
        """Entries of the history that were not there the last time.

        Raises:
            OSError: the file cannot be read.
            Unreadable: it is being written, or is no Trainer's state; it is tried again, and when it changes.
        """
        self.grew = False
        found = self._newest()
        if found is None or found == self.signature:
            return
        try:
            self.state = read_state(found[0])
        except Unreadable:
            self.failures += 1
            self.signature = found if self.is_given_up else None
            raise
        self.signature, self.grew, self.failures = found, True, 0
        yield from self._added(self.state.history)

    @property
    def is_given_up(self) -> bool:
        """Whether it was unreadable too often in a row to be just in the making."""
        return self.failures >= _TRIES

    @property
    def written(self) -> float:
        """When the state that was read last was written."""
        return self.signature[1] / 1e9 if self.signature else 0.0

    def last(self) -> Iterator[LogRecord]:
        return iter(())

    def close(self) -> None:
        pass

    @property
    def is_done(self) -> bool:
        """Whether the last step of the run has been taken."""
        state = self.state
        return bool(state and state.max_steps and state.step is not None and state.step >= state.max_steps)

    def _newest(self) -> tuple[Path, int, int, int] | None:
        """The state file that was written last, and what changes when it is written again."""
        places = [self.path]
        if self.path.is_dir():
            places = [self.path / STATE, *(each.path / STATE for each in checkpoints(self.path) if each.complete)]
        stats = [(path, path.stat()) for path in places if path.is_file()]
        signatures = [(path, stat.st_mtime_ns, stat.st_size, stat.st_ino) for path, stat in stats]
        return max(signatures, key=lambda signature: signature[1], default=None)

    def _added(self, history: tuple[LogRecord, ...]) -> tuple[LogRecord, ...]:
        """What stands behind the last entry taken; all of it where that one is not there: another run."""
        same = len(history) >= self.taken > 0 and history[self.taken - 1].step == self.step
        added = history[self.taken :] if same else history
        self.taken, self.step = len(history), history[-1].step if history else None
        return added


Source = LogSource | StateSource


@dataclass
class Subject:
    """What the user named: a run's folder or one file, and the sources in it that are known so far."""

    path: Path
    sources: dict[Path, Source] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The run's folder, or the one of the file."""
        return self.path if self.path.is_dir() or not self.path.suffix else self.path.parent

    def look(self) -> None:
        """Take up sources that have appeared; the newest logs where there are too many."""
        if self.path.is_dir():
            self.sources.setdefault(self.path, StateSource(self.path))
            for log in self._logs():
                if len(self.sources) <= MOST_LOGS:
                    self.sources.setdefault(log, LogSource.of(log))
        elif self.path.exists():
            state = self.path.name == STATE
            self.sources.setdefault(self.path, StateSource(self.path) if state else LogSource.of(self.path))

    def _logs(self) -> list[Path]:
        found = {path: path.stat().st_mtime for pattern in LOGS for path in self.path.glob(pattern) if path.is_file()}
        return sorted(found, key=lambda path: -found[path])

    @property
    def is_done(self) -> bool:
        return any(isinstance(source, StateSource) and source.is_done for source in self.sources.values())
