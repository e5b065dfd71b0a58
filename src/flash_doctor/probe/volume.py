"""Free space of the file systems under some folders; network file systems are asked through a child with a limit."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flash_doctor.errors import CommandFailed
from flash_doctor.model import Absent, Part, Unknown, Volume
from flash_doctor.probe.files import text_of
from flash_doctor.system.process import Command

if TYPE_CHECKING:
    from flash_doctor.system.process import Runner, Running

# A server that went away blocks any call on these for ever, beyond the reach of signals.
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|lustre|gpfs|beegfs\w*|ceph|glusterfs|pvfs2|orangefs|panfs|wekafs|vastnfs|afs|autofs|9p|fuse(\.(?!fuse-overlayfs).*)?"
)
_LIMIT = 2.0
_HERE = Path("/proc/self/cwd")  # makes a path absolute even where the current folder is gone
_MOST_LINKS = 40
_ESCAPE = re.compile(r"\\([0-7]{3})")
_CHILD = """
import os, sys
path = sys.argv[1]
while not os.path.exists(path) and path != os.path.dirname(path):
    path = os.path.dirname(path)
s = os.statvfs(path)
print((s.f_blocks - s.f_bfree + s.f_bavail) * s.f_frsize, s.f_bavail * s.f_frsize)
"""


class Mount(NamedTuple):
    point: Path
    filesystem: str

    @property
    def is_network(self) -> bool:
        return bool(_NETWORK.fullmatch(self.filesystem))


class PendingVolume:
    """A folder's volume: local ones are known at once, network ones when the child has answered."""

    def __init__(self, path: Path, mounts: tuple[Mount, ...], runner: Runner) -> None:
        self.path = path
        self.place, self.mount = settle(path, mounts)
        self.child: Running | None = None
        self.failure = ""
        if self.mount.is_network:
            argv = (sys.executable or "python3", "-I", "-S", "-c", _CHILD, str(self.place))
            try:
                self.child = runner.start(Command(argv=argv, timeout=_LIMIT))
            except CommandFailed as failed:
                self.failure = failed.message

    def finish(self) -> Part[Volume]:
        if self.child is None:
            return Unknown(unknown=self.failure) if self.failure else self._local()
        try:
            return self._volume(self.child.wait().text)
        except CommandFailed as failed:
            why = f"{self.mount.filesystem} at {self.mount.point} does not answer: {failed.message}"
            return Unknown(unknown=why)

    def _volume(self, answer: str) -> Part[Volume]:
        numbers = answer.split()
        if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
            return Unknown(unknown=f"{self.mount.filesystem} at {self.mount.point} could not be measured")
        total, free = map(int, numbers)
        return Volume(path=self.path, filesystem=self.mount.filesystem, total=total, free=free)

    def _local(self) -> Part[Volume]:
        """Of the nearest folder that exists: a cache folder is often made only later."""
        for folder in (self.place, *self.place.parents):
            try:
                space = os.statvfs(folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                return Unknown(unknown=f"{folder}: {error.strerror}")
            free = space.f_bavail * space.f_frsize
            total = (space.f_blocks - space.f_bfree) * space.f_frsize + free
            return Volume(path=self.path, filesystem=self.mount.filesystem, total=total, free=free)
        return Absent(absent=f"{self.path} does not exist")


def read_mounts(root: Path = Path("/")) -> tuple[Mount, ...]:
    """Every mount, the last one of a folder being the one that is seen."""
    rows = (line.split() for line in (text_of(root / "proc/self/mounts") or "").splitlines())
    return tuple(Mount(point=Path(_plain(row[1])), filesystem=row[2]) for row in rows if len(row) > 2)


def _plain(field: str) -> str:
    """Spaces and the like stand as octal numbers in the table."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)


def mount_of(path: Path, mounts: tuple[Mount, ...]) -> Mount:
    """The deepest mount above a path; of several on one folder the last."""
    above = {path, *path.parents}
    holding = [mount for mount in mounts if mount.point in above]
    return max(reversed(holding), key=lambda mount: len(mount.point.parts), default=Mount(point=path, filesystem="?"))


def settle(path: Path, mounts: tuple[Mount, ...]) -> tuple[Path, Mount]:
    """The path with symbolic links followed, but never a step into a network file system: lstat can hang there."""
    done, left, links = Path("/"), list(reversed((_HERE / path).parts[1:])), 0
    while left:
        part = left.pop()
        step = done.parent if part == ".." else done / part
        if mount_of(step, mounts).is_network:
            return Path(step, *reversed(left)), mount_of(step, mounts)
        target = _link(step) if links < _MOST_LINKS else None
        if target is None:
            done = step
            continue
        links += 1
        done = Path("/") if target.is_absolute() else done
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    return done, mount_of(done, mounts)


def _link(path: Path) -> Path | None:
    with contextlib.suppress(OSError):
        return path.readlink()
    return None
