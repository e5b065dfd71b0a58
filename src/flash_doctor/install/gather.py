"""Room on disk, asked for before anything is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.install.context import Practice
from flash_doctor.install.hashes import fetch_trusted, hashed
from flash_doctor.install.installers import LocalWheel
from flash_doctor.install.staging import entries_of
from flash_doctor.install.target_state import TargetState
from flash_doctor.model.plan import Build, Install

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from flash_doctor.model.plan import Step


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


@dataclass(frozen=True, kw_only=True)
class Gatherer:
    """Fetches or builds what the steps name; `build` compiles one step into a wheel."""

    patient: TargetState
    practice: Practice
    build: Callable[[Build], LocalWheel]

    def gather(self, steps: Sequence[Step]) -> tuple[LocalWheel, ...]:
        """The wheels, in the order of the steps; the disks have room for them, packed and unpacked.

        Raises:
            BadInput: not enough room, or a file without a published hash that nobody trusts.
            HttpError: an address could not be read.
            HashMismatch: it gave another file than was promised.
        """
        files = [file for step in steps for file in step.files]
        cache = self.practice.options.sources.cache
        demand_room(cache, [file.size for file in files if not _local(file)], "in the cache for the downloads")
        wheels = tuple(
            self.build(step) if isinstance(step, Build) else fetch_wheel(step, self.practice)
            for step in steps
            if isinstance(step, (Install, Build))
        )
        sizes = [unpacked_size(wheel.path) for wheel in wheels]
        demand_room(self.patient.site, sizes, "in the target for the unpacked files")
        return wheels


def fetch_wheel(step: Install, practice: Practice) -> LocalWheel:
    """The wheel of a step; raises what `fetch_trusted` does."""
    assert step.url is not None
    found = fetch_trusted(step, practice)
    return LocalWheel(path=found.path, name=step.name, sha256=found.sha256, url=step.url)


def _local(file: Install | Build) -> bool:
    return bool(file.url and file.url.startswith("file:"))


def pinned(steps: Sequence[Step], wheels: Sequence[LocalWheel]) -> tuple[Step, ...]:
    """The steps with the hashes and sizes of what was fetched."""
    found = {wheel.url: wheel for wheel in wheels}
    return tuple(
        hashed(step, found[step.url]) if isinstance(step, Install) and step.url in found else step for step in steps
    )
