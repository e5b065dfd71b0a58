"""What comes into an environment gets owner, group and mode of what it replaces; what is new, those of its folder.

An installer leaves files as our umask and user would have them: a colleague could not read them, or not replace them.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from flash_doctor.install.journal_text import Arrival

_READ, _EXECUTE = 0o444, 0o111


def own_arrivals(arriving: Iterable[Arrival]) -> None:
    """Make the staged files look like what they replace, before they are moved."""
    folders: dict[Path, os.stat_result] = {}
    for arrival in arriving:
        folder = arrival.path.parent
        model = _regular(arrival.path) or folders.get(folder) or folders.setdefault(folder, _nearest(folder))
        _become(arrival.staged, model)


def own_folders(made: Iterable[Path]) -> None:
    """Make new folders look like those that they lie in; they come with the outermost first."""
    for folder in made:
        _become(folder, folder.parent.stat())


def _regular(path: Path) -> os.stat_result | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _nearest(folder: Path) -> os.stat_result:
    """The folder, or the first above it that is there."""
    return next(one for one in (folder, *folder.parents) if one.exists()).stat()


def _become(path: Path, model: os.stat_result) -> None:
    """Owner and group as far as we may give them; what may be run stays so, for everybody who may read it."""
    now = path.lstat()
    if stat.S_ISLNK(now.st_mode):
        return
    if (now.st_uid, now.st_gid) != (model.st_uid, model.st_gid):
        for uid, gid in ((-1, model.st_gid), (model.st_uid, -1)):
            with suppress(PermissionError):
                os.chown(path, uid, gid, follow_symlinks=False)
    wanted = _mode(stat.S_IMODE(model.st_mode), now.st_mode)
    if stat.S_IMODE(path.lstat().st_mode) != wanted:
        path.chmod(wanted)


def _mode(model: int, now: int) -> int:
    """Nobody but owner and group may write what we make; a folder hands its group on (setgid) as its own does."""
    if stat.S_ISDIR(now):
        return model & 0o2775
    read = model & _READ
    return (model & 0o664) | (read >> 2 if now & _EXECUTE else 0)
