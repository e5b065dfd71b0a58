"""The wheel matrix as values: `Facts`. Each file is read and validated when its part is first asked for.

A rule asks the parts questions in the words of the field: `facts.drivers.oldest_for(torch.cuda)`,
`facts.torch.release(version)`, `facts.gpus.of(capability)`, `facts.companions.flash_window("xformers", version)`.

The module of a part is imported with it: a command pays only for the facts that it reads.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from flash_doctor.system.paths import facts_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flash_doctor.facts.companions import Companions
    from flash_doctor.facts.complaints import Complaints
    from flash_doctor.facts.drivers import Drivers
    from flash_doctor.facts.flash import Flash
    from flash_doctor.facts.fleet import FleetPolicy
    from flash_doctor.facts.gpus import GpuKinds
    from flash_doctor.facts.preflight import PreflightFacts
    from flash_doctor.facts.publishers import Publishers
    from flash_doctor.facts.quirks import Quirks
    from flash_doctor.facts.stacks import Stack
    from flash_doctor.facts.torch import TorchReleases
    from flash_doctor.facts.watch import WatchFacts

T = TypeVar("T")


class Facts:
    """The facts in one folder; by default those that came with the package, or those in FLASH_DOCTOR_FACTS.

    Reading any part raises BadFacts when its file breaks an invariant, with every fault of that file.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    def _file(self, kind: type[T], name: str) -> T:
        from flash_doctor.facts.loading import load

        return load(kind, self.folder / name)

    @cached_property
    def drivers(self) -> Drivers:
        from flash_doctor.facts.drivers import Drivers

        return self._file(Drivers, "drivers.toml")

    @cached_property
    def gpus(self) -> GpuKinds:
        from flash_doctor.facts.gpus import GpuKinds

        return self._file(GpuKinds, "gpus.toml")

    @cached_property
    def companions(self) -> Companions:
        from flash_doctor.facts.companions import Companions

        return self._file(Companions, "companions.toml")

    @cached_property
    def publishers(self) -> Publishers:
        from flash_doctor.facts.publishers import Publishers

        return self._file(Publishers, "publishers.toml")

    @cached_property
    def quirks(self) -> Quirks:
        from flash_doctor.facts.quirks import Quirks

        return self._file(Quirks, "quirks.toml")

    @cached_property
    def complaints(self) -> Complaints:
        from flash_doctor.facts import complaints

        return complaints.load(self.folder / "complaints.toml")

    @cached_property
    def fleet(self) -> FleetPolicy:
        from flash_doctor.facts import fleet

        return fleet.load(self.folder / "fleet.toml")

    @cached_property
    def flash(self) -> Flash:
        from flash_doctor.facts.flash import Flash

        return self._file(Flash, "flash.toml")

    @cached_property
    def watch(self) -> WatchFacts:
        from flash_doctor.facts.watch import FILE, WatchFacts

        return self._file(WatchFacts, FILE)

    @cached_property
    def preflight(self) -> PreflightFacts:
        from flash_doctor.facts.preflight import PreflightFacts  # `check` has no use for them

        return PreflightFacts(self.folder / "preflight")

    @cached_property
    def stacks(self) -> Mapping[str, Stack]:
        from flash_doctor.facts import stacks

        return stacks.load(self.folder / "stacks")

    @cached_property
    def torch(self) -> TorchReleases:
        from flash_doctor.facts import torch

        path = self.folder / "torch.toml"
        return torch.load(path, cuda_known=self.drivers.toolkits, gpus_known=self.gpus.kinds)


def default_folder() -> Path:
    """The facts that count when no folder is given."""
    return facts_folder(os.environ)
