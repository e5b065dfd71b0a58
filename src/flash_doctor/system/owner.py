"""Whose a file is: believed is what only we, root, or a user who is named could have written.

A file is trusted when it is ours, root's or of a named user, when nobody else may write it, and when that holds for
every folder above it: whoever may rename in a folder puts another file in the place of any. A folder with the sticky
bit (/tmp) is no danger to what lies in it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from flash_doctor.errors import BadInput
from flash_doctor.system.paths import current_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINKS = 40  # as the kernel: more in one path are a loop
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def demand_trusted(path: Path, *, also: frozenset[int] = frozenset(), below: Path | None = None) -> None:
    """Refuse a file or folder that somebody else could have written.

    Args:
        path: a link there is refused; links among the folders above it are followed when they are trusted themselves.
        also: numbers of users who are believed as we and root are: the owner of the environment that is treated.
        below: a folder above `path` that is taken for granted, and all above it; None: everything up to / is looked at.

    Raises:
        BadInput: with the reason; also when it is not there.
    """
    try:
        fault = next(_faults(path, _Trust(also), below), None)
    except OSError as error:
        message = f"{path} cannot be looked at"
        raise BadInput(message, evidence=(f"{error.filename or path}: {error.strerror}",)) from error
    if fault:
        raise _refused(path, fault)


def is_trusted(path: Path, *, also: frozenset[int] = frozenset(), below: Path | None = None) -> bool:
    """Whether `demand_trusted` would let it pass."""
    try:
        return next(_faults(path, _Trust(also), below), None) is None
    except OSError:
        return False


def can_hold(folder: Path) -> bool:
    """Whether what we make in this folder stays ours: nobody else can rename it, or a folder above."""
    try:
        return next(_above(current_folder() / folder, _Trust(frozenset())), None) is None
    except OSError:
        return False


def open_trusted(path: Path, *, also: frozenset[int] = frozenset(), below: Path | None = None) -> BinaryIO:
    """A regular file, opened to be read, and looked at once more when it is open: nobody can change it between.

    Raises:
        BadInput: as in `demand_trusted`; or it is no regular file, or it cannot be opened.
    """
    demand_trusted(path, also=also, below=below)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(path, f"{path} cannot be opened: {error.strerror}") from error
    status = os.fstat(descriptor)
    fault = _Trust(also).fault(path, status)
    if fault is None and not stat.S_ISREG(status.st_mode):
        fault = f"{path} is no regular file"
    if fault:
        os.close(descriptor)
        raise _refused(path, fault)
    return os.fdopen(descriptor, "rb")


def user_name(uid: int) -> str:
    """`ada (uid 1001)`, or `uid 1001` where that number has no name here."""
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


class _Trust:
    """Who is believed: root, we, and the users in `also`."""

    def __init__(self, also: frozenset[int]) -> None:
        self.users = also | {0, os.geteuid()}

    def fault(self, path: Path, status: os.stat_result, *, above: bool = False) -> str | None:
        """Why this one file or folder is not trusted; `above`: it is only a folder on the way."""
        if status.st_uid not in self.users and not (above and from_outside(status.st_uid)):
            return f"{path} belongs to {user_name(status.st_uid)}"
        if stat.S_ISLNK(status.st_mode):
            return None  # the mode of a link means nothing
        others = status.st_mode & _OTHERS
        if others == stat.S_IWGRP and _private_group(path, status):
            others = 0
        if others and not (above and status.st_mode & stat.S_ISVTX):
            return f"others may write {path}: its mode is {stat.filemode(status.st_mode)}"
        return None


def _faults(path: Path, trust: _Trust, below: Path | None) -> Iterator[str]:
    """What is wrong with it, the folders above it first: what lies in a stranger's folder says nothing."""
    # not os.path.abspath: behind a link `..` is another folder than its text says
    path = current_folder() / path
    yield from _above(path.parent, trust) if below is None else _between(current_folder() / below, path, trust)
    if fault := _at(path, trust, above=False):
        yield fault


def _between(top: Path, path: Path, trust: _Trust) -> Iterator[str]:
    """The folders from below `top` down to the one that holds `path`; no link may be among them."""
    if top not in path.parents or ".." in path.relative_to(top).parts:
        yield f"{path} does not lie in {top}"
        return
    for folder in reversed([folder for folder in path.parents if top in folder.parents]):
        if fault := _at(folder, trust, above=True):
            yield fault


def _at(path: Path, trust: _Trust, *, above: bool) -> str | None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"{path} is a link"
    return trust.fault(path, status, above=above)


def _above(folder: Path, trust: _Trust) -> Iterator[str]:
    """Every folder from / down to this one, as the kernel walks it, and over the links among them."""
    done, rest, links = Path("/"), [*reversed(folder.parts)], 0
    while rest:
        part = rest.pop()
        step = done.parent if part == ".." else done / part  # `done` holds no links
        status = step.lstat()
        if fault := trust.fault(step, status, above=True):
            yield fault
        if not stat.S_ISLNK(status.st_mode):
            done = step
            continue
        links += 1
        if links > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(step))
        rest += reversed(step.readlink().parts)  # `/` as a part begins anew


def _private_group(path: Path, status: os.stat_result) -> bool:
    """Whether the group has its owner as the only member, as Linux gives to each user; umask is 002 there."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    named = user.pw_gid == group.gr_gid and user.pw_name == group.gr_name and set(group.gr_mem) <= {user.pw_name}
    return named and not _has_list(path)


def _has_list(path: Path) -> bool:
    """Whether an access list lets more users in: the bits of the group are then only the most that it may give."""
    try:
        return "system.posix_acl_access" in os.listxattr(path, follow_symlinks=False)
    except OSError:  # a file system without such lists
        return False


def from_outside(uid: int) -> bool:
    """Whether it is the number that stands for every user from outside of a container's own user table.

    In Apptainer and rootless containers the folders above a home belong to it; their mode is still looked at.
    """
    try:
        if uid != int(Path("/proc/sys/kernel/overflowuid").read_text(encoding="ascii")):
            return False
        return Path("/proc/self/uid_map").read_text(encoding="ascii").split() != ["0", "0", str(2**32 - 1)]
    except (OSError, ValueError):
        return False


def _refused(path: Path, fault: str) -> BadInput:
    message = f"{path} is not believed: somebody else could have written it"
    advice = "If you know what is in it, make it yours alone (chown, chmod -R go-w); else remove it."
    return BadInput(message, evidence=(fault,), advice=advice)
