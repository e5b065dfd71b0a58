"""Files in places of strangers: only regular ones are read, never without end; none is written through their links."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import BufferedReader

from flash_doctor.system.paths import current_folder

LIMIT = 16 * 1024 * 1024
LARGEST = 32 << 30  # bytes; many times the largest wheel there is: what has no end must not fill a disk, or cost hours
_LINKS = 40  # as the kernel: more in one path are a loop
_HERE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_regular(path: Path) -> BufferedReader:
    """The file, opened to be read; a pipe would make us wait for its writer, /dev/zero has no end.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, limit: int = LIMIT) -> bytes:
    """All of the file.

    Raises:
        OSError: it cannot be read, is no regular file, or is longer than `limit` bytes.
    """
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it is longer than {limit // 1024 // 1024} MiB", str(path))
    return data


def write_file(path: Path, content: str) -> None:
    """Write a file whole or not at all, in the mode of the one that it replaces; a new one gets what umask leaves.

    A pipe or device is written to, never replaced. Our own links are followed and stay, root's too; another user's is
    refused, be it the file or a folder on the way: he would choose which of our files is overwritten. So is his pipe:
    he would read along, or never read and hold us for ever.

    Args:
        path: where the user wants it.
        content: is encoded as UTF-8.

    Raises:
        OSError: it cannot be written.
    """
    folder, name = _walked(current_folder() / path)
    try:
        there = _status(name, folder)
        if there is None or stat.S_ISREG(there.st_mode):
            _replace(name, folder, content.encode(), there)
        else:
            _demand_no_trap(name, there)
            _write_into(name, folder, content.encode())
    finally:
        os.close(folder)


def _walked(path: Path) -> tuple[int, str]:
    """The folder that the file lies in, opened, and its name there; every link on the way was asked for its owner.

    A link of the kernel's own (/dev/stdout leads over one in /proc) is the end of the way: no path says where it leads.
    """
    folder, rest, links = os.open("/", _HERE), [*reversed(path.parts)], 0
    try:
        while rest:
            part = rest.pop()
            status = None if part == "/" else _status(part, folder)
            if status is not None and stat.S_ISLNK(status.st_mode):
                if _in_proc(folder) and not rest:
                    return folder, part
                links += 1
                rest += reversed(_followed(part, folder, status, links))
            elif rest or part == "/" or part == "..":
                folder = _entered(part, folder)
            else:
                return folder, part
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    except BaseException:
        os.close(folder)
        raise


def _entered(part: str, folder: int) -> int:
    """The folder of that name, in place of the one that it lies in."""
    inner = os.open(part, _HERE, dir_fd=folder)
    os.close(folder)
    return inner


def _followed(name: str, folder: int, status: os.stat_result, links: int) -> tuple[str, ...]:
    """The parts of what a link says; it is looked at again, since it could have been replaced meanwhile."""
    if status.st_uid not in {0, os.geteuid()}:
        raise PermissionError(errno.EPERM, f"it is a link of another user's (uid {status.st_uid})", name)
    target = Path(os.readlink(name, dir_fd=folder))
    again = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if (again.st_ino, again.st_uid) != (status.st_ino, status.st_uid) or links > _LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return target.parts


def _in_proc(folder: int) -> bool:
    """Whether an opened folder lies in /proc, whose links of descriptors lead where no path does."""
    try:
        return os.fstat(folder).st_dev == Path("/proc/self").stat().st_dev
    except OSError:
        return False


def _status(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _replace(name: str, folder: int, data: bytes, before: os.stat_result | None) -> None:
    """By a draft that nobody can have waited for, renamed; the mode of another user's file is not taken over."""
    draft = f".flash-doctor-{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o666, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if before is not None and before.st_uid == os.geteuid():
                with suppress(OSError):
                    os.fchown(descriptor, -1, before.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode) & 0o777)
            file.write(data)
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        raise


def _demand_no_trap(name: str, there: os.stat_result) -> None:
    """Refuse a pipe or socket of another user's; devices are root's to make, and a terminal is its user's."""
    made = stat.S_ISFIFO(there.st_mode) or stat.S_ISSOCK(there.st_mode)
    if made and there.st_uid not in {0, os.geteuid()}:
        raise PermissionError(errno.EPERM, f"it is a pipe of another user's (uid {there.st_uid})", name)


def _write_into(name: str, folder: int, data: bytes) -> None:
    """A pipe, a device, or what a link in /proc leads to."""
    follow = os.O_APPEND if _in_proc(folder) else os.O_NOFOLLOW
    descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC | follow, dir_fd=folder)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
