"""Every wheel of a plan on this disk, fetched or compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.install.interface import LocalWheel
from flash_doctor.install.space import demand_room, unpacked_size
from flash_doctor.model.plan import Build, Install
from flash_doctor.treat.patient import Patient
from flash_doctor.treat.practice import Practice
from flash_doctor.treat.trust import fetch_trusted, hashed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_doctor.model.plan import Step


@dataclass(frozen=True, kw_only=True)
class Gatherer:
    """Fetches or builds what the steps name; `build` compiles one step into a wheel."""

    patient: Patient
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
