"""The files of a run: which ones to follow, and what is new in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.preflight.watch.lines import LogReader
from flash_doctor.preflight.watch.tail import Tail
from flash_doctor.preflight.watch.trainer_files import STATE, State, Unreadable, checkpoints, read_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.preflight.watch.records import Record

LOGS = ("*.log", "*.jsonl", "*.out")
MOST_LOGS = 32
_TRIES = 3
_PIECES = 64  # of tail.CHUNK bytes that are read of one log before the disk is looked at again


@dataclass
class LogSource:
    """One log or metrics file, followed."""

    path: Path
    tail: Tail
    reader: LogReader = field(default_factory=LogReader)
    behind: bool = False
    grew: bool = False

    @classmethod
    def of(cls, path: Path) -> LogSource:
        return cls(path=path, tail=Tail(path))

    def new(self) -> Iterator[Record]:
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

    def last(self) -> Iterator[Record]:
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
    state: State | None = None
    failures: int = 0
    behind: bool = False
    grew: bool = False

    def new(self) -> Iterator[Record]:
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

    def last(self) -> Iterator[Record]:
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

    def _added(self, history: tuple[Record, ...]) -> tuple[Record, ...]:
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
