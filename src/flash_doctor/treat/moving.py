"""Where moving a file means copying it: told before anything is agreed to, since it costs time and room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.install.files import is_there
from flash_doctor.install.swap import going
from flash_doctor.probe.volume import Mount, mount_of, read_mounts
from flash_doctor.system.inside import Inside

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from flash_doctor.treat.patient import Patient

_LAYERED = {"overlay", "fuse.fuse-overlayfs"}
_MIB = 1 << 20


def copied_instead(patient: Patient, names: Collection[str], mounts: tuple[Mount, ...] | None = None) -> Iterator[str]:
    """A sentence for everything that is copied when these distributions are replaced; none where renaming does.

    A file of a container image lies in a lower layer: the kernel copies it up before it moves. A package, or the folder
    of all packages, may be a file system of its own.
    """
    mounts = read_mounts() if mounts is None else mounts
    home, programs = (mount_of(path.resolve(), mounts) for path in (patient.site, patient.prefix / "bin"))
    removed, _ = patient.parted(names)
    old = [path.lstat() for path in going(removed, (), Inside(patient.site, patient.prefix)) if is_there(path)]
    device = patient.site.stat().st_dev
    if home.filesystem in _LAYERED:
        size = sum(one.st_size for one in old) / _MIB
        yield f"the target lies on a container's layers (overlayfs): up to {size:.0f} MiB of old files are copied first"
    elif elsewhere := [one.st_size for one in old if one.st_dev != device]:
        size = sum(elsewhere) / _MIB
        yield f"{len(elsewhere)} old files with {size:.0f} MiB lie on another file system: they are copied, not renamed"
    if home.point != programs.point:
        yield f"{patient.site} is a file system of its own: programs are copied to {patient.prefix}, not renamed"
