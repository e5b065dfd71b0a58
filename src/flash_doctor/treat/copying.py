"""Where moving a file means copying it: told before anything is agreed to, since it costs time and room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.install.swap import going, inside
from flash_doctor.probe.volume import Mount, mount_of, read_mounts

if TYPE_CHECKING:
    from collections.abc import Collection

    from flash_doctor.treat.patient import Patient

_MIB = 1 << 20


def copying_notes(patient: Patient, names: Collection[str], mounts: tuple[Mount, ...] | None = None) -> tuple[str, ...]:
    """What replacing these distributions copies; nothing where renaming does.

    A file of a container image lies in a lower layer: the kernel copies it up before it moves. Programs beside a folder
    of packages that is a mount of its own go to another file system.
    """
    mounts = read_mounts() if mounts is None else mounts
    home, programs = (mount_of(path.resolve(), mounts) for path in (patient.site, patient.prefix / "bin"))
    notes = []
    if home.filesystem == "overlay":
        removed, _ = patient.parted(names)
        old = going(removed, (), inside(patient.prefix, patient.site))
        size = sum(path.lstat().st_size for path in old if path.exists())
        notes.append(
            f"the target lies on a container's layers: up to {size / _MIB:.0f} MiB of old files are copied first"
        )
    if home.point != programs.point:
        notes.append(
            f"{patient.site} is a file system of its own: programs are copied to {patient.prefix}, not renamed"
        )
    return tuple(notes)
