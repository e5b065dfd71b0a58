"""What watching asks of the machine: time, the room on a disk, and who has a file open for writing."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from flash_doctor.watch.disk import Space

if TYPE_CHECKING:
    from pathlib import Path


class Writer(NamedTuple):
    """A process: its number, which may be given again, and when it began (seconds since 1970)."""

    pid: int
    begun: float


class World(Protocol):
    """The machine. `SystemClock` is the real one; tests have others."""

    def now(self) -> float:
        """Seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...

    def sleep(self, seconds: float) -> None: ...

    def space(self, folder: Path) -> Space:
        """Raises OSError where the file system cannot be asked."""
        ...

    def writers(self, paths: frozenset[Path]) -> frozenset[Writer]:
        """Processes that have one of these files, or one below these folders, open for writing.

        Processes of other users and of other machines cannot be seen.
        """
        ...

    def alive(self, writers: frozenset[Writer]) -> bool:
        """Whether any of them still runs, with that file open or not."""
        ...


class SystemClock:
    """This machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def space(self, folder: Path) -> Space:
        found = os.statvfs(folder)
        return Space(
            used=(found.f_blocks - found.f_bfree) * found.f_frsize,
            free=found.f_bavail * found.f_frsize,
        )

    def writers(self, paths: frozenset[Path]) -> frozenset[Writer]:
        import psutil

        whole = {str(path.resolve()) for path in paths}
        return frozenset(filter(None, (_writer(pid, whole) for pid in psutil.pids())))

    def alive(self, writers: frozenset[Writer]) -> bool:
        return any(_begun(writer.pid) == writer.begun for writer in writers)


def _begun(pid: int) -> float | None:
    """When the process began; None when there is none, or only what its parent has not yet collected."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.Error, OSError):
        return None


def _writer(pid: int, paths: set[str]) -> Writer | None:
    import psutil

    try:
        process = psutil.Process(pid)
        opened = process.open_files()
        writes = any(_within(file.path, paths) for file in opened if file.mode != "r")
        return Writer(pid, process.create_time()) if writes else None
    except (psutil.Error, OSError):
        return None


def _within(path: str, paths: set[str]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in paths)
