"""Moving files so that a crash or a power cut leaves each of them in one of two places, whole."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def move(source: Path, destination: Path) -> None:
    """Rename; across file systems (EXDEV, a lower overlay layer) copy beside the destination, sync, rename, unlink."""
    try:
        source.rename(destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = half_copied(destination)
        shutil.copy2(source, copy, follow_symlinks=False)
        sync(copy)
        copy.replace(destination)
        source.unlink()


def half_copied(destination: Path) -> Path:
    """Where `move` builds a copy across file systems; after a crash it may lie there, and belongs to nobody."""
    return destination.with_name(destination.name + ".flash-doctor-copy")


def write_whole(path: Path, text: str, *, mode: int | None = None) -> None:
    """The file has its old content or the new one, also after a power cut; with `mode` whatever the umask is."""
    draft = path.with_name(path.name + ".draft")
    draft.unlink(missing_ok=True)  # of a run that was cut off
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, 0o666), "w", encoding="utf-8") as file:
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Force a file's content, or a folder's list of names, to the disk."""
    if path.is_symlink():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folders(paths: Iterable[Path]) -> None:
    """Force the names in the folders of these paths to the disk, where those folders are still there."""
    for folder in sorted({path.parent for path in paths}):
        with contextlib.suppress(FileNotFoundError):
            sync(folder)


def remove_if_empty(folder: Path) -> None:
    """Remove a folder; one that is gone already, or in which somebody put a file, stays as it is."""
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}:
            raise


def is_there(path: Path) -> bool:
    """Whether the name is taken, be it by a dangling link."""
    return os.path.lexists(path)
