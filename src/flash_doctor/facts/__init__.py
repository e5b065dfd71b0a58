"""The wheel matrix as values: `Facts`. Each file is read and validated when its part is first asked for.

A rule asks the parts questions in the words of the field: `facts.drivers.oldest_for(torch.cuda)`,
`facts.torch.release(version)`, `facts.gpus.of(capability)`, `facts.companions.flash_window("xformers", version)`.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.facts import companions, drivers, gpus, quirks, stacks, torch
from flash_doctor.facts.companions import Companions, FlashWindow, HostCompiler, Limit, NeverUse, Publisher
from flash_doctor.facts.drivers import DriverNeed, Drivers
from flash_doctor.facts.gpus import GpuKind, GpuKinds
from flash_doctor.facts.loading import Source
from flash_doctor.facts.quirks import BitsAndBytes, FaultyWheel, Quirks
from flash_doctor.facts.stacks import Stack
from flash_doctor.facts.torch import GpuCode, TorchBuild, TorchRelease, TorchReleases

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BitsAndBytes",
    "Companions",
    "DriverNeed",
    "Drivers",
    "Facts",
    "FaultyWheel",
    "FlashWindow",
    "GpuCode",
    "GpuKind",
    "GpuKinds",
    "HostCompiler",
    "Limit",
    "NeverUse",
    "Publisher",
    "Quirks",
    "Source",
    "Stack",
    "TorchBuild",
    "TorchRelease",
    "TorchReleases",
]

VARIABLE = "FLASH_DOCTOR_FACTS"


class Facts:
    """The facts in one folder; by default those that came with the package, or those in FLASH_DOCTOR_FACTS.

    Reading any part raises BadFacts when its file breaks an invariant, with every fault of that file.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    @cached_property
    def drivers(self) -> Drivers:
        return drivers.load(self.folder / "drivers.toml")

    @cached_property
    def gpus(self) -> GpuKinds:
        return gpus.load(self.folder / "gpus.toml")

    @cached_property
    def companions(self) -> Companions:
        return companions.load(self.folder / "companions.toml")

    @cached_property
    def quirks(self) -> Quirks:
        return quirks.load(self.folder / "quirks.toml")

    @cached_property
    def stacks(self) -> Mapping[str, Stack]:
        return stacks.load(self.folder / "stacks")

    @cached_property
    def torch(self) -> TorchReleases:
        path = self.folder / "torch.toml"
        return torch.load(path, cuda_known=self.drivers.toolkits, gpus_known=self.gpus.kinds)


def default_folder() -> Path:
    """`wheel_matrix` inside the installed package, else beside `src` in a checkout; the variable overrides both."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    package = Path(__file__).parents[1]
    installed = package / "wheel_matrix"
    return installed if installed.is_dir() else package.parents[1] / "wheel_matrix"
