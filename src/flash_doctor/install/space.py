"""Room on disk, asked for before anything is written."""

from __future__ import annotations

import os
import shutil
import zipfile
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput, InstallFailed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# what folders, metadata and a file system's blocks cost on top of the bytes, as a share of them
_OVERHEAD = 1.05
_MIB = 1 << 20


def unpacked_size(wheel: Path) -> int:
    """Bytes of a wheel's files once they are unpacked.

    Raises:
        InstallFailed: it is no archive.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            return sum(member.file_size for member in archive.infolist())
    except (OSError, zipfile.BadZipFile) as error:
        message = f"{wheel.name} is damaged: it cannot be read as an archive"
        raise InstallFailed(message, evidence=(str(error),)) from error


def demand_room(folder: Path, sizes: Iterable[int | None], purpose: str) -> None:
    """Refuse when the file system of `folder` (which need not exist yet) has less room than these sizes together.

    Raises:
        BadInput: with the bytes that are needed and free.
    """
    needed = int(sum(size or 0 for size in sizes) * _OVERHEAD)
    place = next(parent for parent in (folder, *folder.parents) if os.path.lexists(parent))
    free = shutil.disk_usage(place).free
    if needed > free:
        message = f"there is not enough room {purpose}"
        evidence = f"{place}: {needed / _MIB:.0f} MiB are needed, {free / _MIB:.0f} MiB are free"
        raise BadInput(message, evidence=(evidence,), advice="Make room there, or move the folder to a larger disk.")
