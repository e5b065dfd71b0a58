"""What replacing files costs where renaming is not enough: layers of a container, folders on another file system."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flash_doctor.install.files import is_there
from flash_doctor.install.swap import recorded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flash_doctor.treat.patient import Patient

_LAYERED = {"overlay", "fuse.fuse-overlayfs"}
_MIB = 1 << 20


def copied_instead(patient: Patient, names: Sequence[str]) -> str:
    """A sentence on the bytes that are copied because they cannot be renamed; empty where everything can."""
    old = [path for name in names for package in patient.copies(name) for path in recorded(package, strict=False)]
    found = [path.lstat() for path in old if is_there(path)]
    if _kind_of(patient.site) in _LAYERED:
        why = "the environment lies in the layers of a container (overlayfs), where a file is copied before it is moved"
        return _sentence(found, why)
    device = patient.site.stat().st_dev
    elsewhere = [one for one in found if one.st_dev != device]
    return _sentence(elsewhere, "they lie on another file system than the packages beside them")


def _sentence(found: Sequence[os.stat_result], why: str) -> str:
    size = sum(one.st_size for one in found) / _MIB
    return f"up to {len(found)} files with {size:.0f} MiB are copied rather than renamed: {why}" if found else ""


def _kind_of(folder: Path) -> str:
    """The type of the file system that holds a folder."""
    import psutil

    place = os.path.realpath(folder)
    holding = [one for one in psutil.disk_partitions(all=True) if _below(place, one.mountpoint)]
    return max(holding, key=lambda one: len(one.mountpoint)).fstype if holding else ""


def _below(place: str, mountpoint: str) -> bool:
    return mountpoint == "/" or place == mountpoint or place.startswith(mountpoint + os.sep)
