"""Room on disk, asked for before anything is written."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.install.names import entries_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# what folders, metadata and a file system's blocks cost on top of the bytes, as a share of them
_OVERHEAD = 1.05
_MIB = 1 << 20


def unpacked_size(wheel: Path) -> int:
    """Bytes of a wheel's files once they are unpacked.

    Raises:
        InstallFailed: it cannot be read as an archive.
    """
    return sum(member.file_size for member in entries_of(wheel))


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
