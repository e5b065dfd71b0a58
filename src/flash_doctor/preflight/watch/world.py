"""What watching asks of the machine: time, the room on a disk, and who has a file open for writing."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from flash_doctor.preflight.watch.disk import Space

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psutil


class World(Protocol):
    """The machine. `System` is the real one; tests have others."""

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

    def writers(self, paths: frozenset[Path], among: frozenset[int]) -> frozenset[int]:
        """Processes that have one of these files, or one below these folders, open for writing.

        `among`: look at these processes only, at all where it is empty. Processes of others cannot be seen.
        """
        ...


class System:
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

    def writers(self, paths: frozenset[Path], among: frozenset[int]) -> frozenset[int]:
        whole = {str(path.resolve()) for path in paths}
        return frozenset(process.pid for process in _processes(among) if _writes(process, whole))


def _processes(among: frozenset[int]) -> Iterator[psutil.Process]:
    import psutil

    for pid in among or psutil.pids():
        with suppress(psutil.Error):
            yield psutil.Process(pid)


def _writes(process: psutil.Process, paths: set[str]) -> bool:
    import psutil

    try:
        opened = process.open_files()
    except (psutil.Error, OSError):
        return False
    return any(_within(file.path, paths) for file in opened if file.mode != "r")


def _within(path: str, paths: set[str]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in paths)
