"""Judges compiled files before they are used: would they load beside this torch, and run on these GPUs?

The names of a wheel are promises; what is read here is what the loader and the GPU driver will read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.abi.binary import read_binary
from flash_doctor.abi.buffer import Buffer, mapped
from flash_doctor.abi.fatbin import GpuCode, Runnable
from flash_doctor.abi.linker import open_linker
from flash_doctor.errors import BadBinary
from flash_doctor.install.swap import staged_site
from flash_doctor.install.target_state import TargetState
from flash_doctor.model import Capability, known

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.abi.binary import Binary
    from flash_doctor.abi.linker import Linkage, Linker
    from flash_doctor.facts import Facts

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Court:
    """Where files are judged: the patient, its GPUs, the chips that take no foreign code, the torch to link with."""

    patient: TargetState
    gpus: tuple[Capability, ...]
    tegra: frozenset[Capability]
    torch_lib: Path | None
    overlay: Mapping[Path, Buffer]

    @classmethod
    def of(cls, patient: TargetState, facts: Facts, overlay: Mapping[Path, Buffer], torch: Path | None = None) -> Court:
        """`torch`: the folder of a torch that is about to be installed, else the one that is there counts.

        `overlay`: files that are taken to lie in places where they are to go.
        """
        folder = torch or patient.torch_folder
        return cls(
            patient=patient,
            gpus=visible_gpus(patient),
            tegra=frozenset(gpu for gpu, kind in facts.gpus.kinds.items() if kind.own_code),
            torch_lib=folder / "lib" if folder else None,
            overlay=overlay,
        )

    def faults(self, paths: Mapping[Path, str]) -> Iterator[str]:
        """Why the files (path and the name to tell it by) cannot work here, each as a sentence."""
        python = self.patient.target.python
        with (
            open_linker(python, self.torch_lib, os.environ, overlay=self.overlay) as beside_torch,
            open_linker(python, None, os.environ, overlay=self.overlay) as alone,
        ):
            for path, name in paths.items():
                yield from self._of_one(path, name, beside_torch, alone)

    def _of_one(self, path: Path, name: str, beside_torch: Linker, alone: Linker) -> Iterator[str]:
        try:
            binary = read_binary(self.overlay.get(path, path), name)
            yield from self._faults(binary, path, beside_torch if binary.links_torch else alone)
        except BadBinary as error:
            yield f"{name}: {error.message}"

    def _faults(self, binary: Binary, path: Path, linker: Linker) -> Iterator[str]:
        abi = self.patient.python.abi
        if binary.fits_python(abi) is False:
            yield f"{binary.name} is for Python {known(binary.python_abi)}, this one is {abi}"
            return
        if self.torch_lib is not None or not binary.links_torch:
            yield from _linkage(linker.link(path), binary.name)
        yield from self._gpu_code(binary)

    def _gpu_code(self, binary: Binary) -> Iterator[str]:
        code = known(binary.gpu_code)
        if not isinstance(code, GpuCode):
            return
        for gpu in self.gpus:
            answer = code.runs_on(gpu, self.tegra)
            if answer.verdict is Runnable.NO:
                yield f"{binary.name} does not run on this GPU: {answer.why}"


def visible_gpus(patient: TargetState) -> tuple[Capability, ...]:
    """Compute capabilities of the GPUs that CUDA may see, each once."""
    gpus = known(patient.environment.gpus)
    devices = gpus.devices if gpus else ()
    seen = {known(device.capability) for device in devices if known(device.visible) is not False}
    return tuple(sorted(capability for capability in seen if capability is not None))


def _linkage(linkage: Linkage, name: str) -> Iterator[str]:
    yield from (f"{name} needs {one.name}, which is not there" for one in linkage.missing_libraries)
    for version in linkage.missing_versions[:_SHOWN]:
        yield f"{name} needs {version.version}, which {version.path} does not have"
    yield from (f"{one.path.name} cannot be loaded: {one.why}" for one in linkage.broken)
    if linkage.unresolved:
        first = linkage.unresolved[0]
        more = f" and {len(linkage.unresolved) - 1} more" if len(linkage.unresolved) > 1 else ""
        yield f"{name} needs the symbol {first.symbol}{more}, which nothing here exports: it is for another torch"


def staged_faults(staged: Path, patient: TargetState, facts: Facts) -> tuple[str, ...]:
    """Why what was unpacked under a staging prefix cannot work in the target; empty when all of it can."""
    site = staged_site(staged)
    binaries = [path for path in sorted(site.rglob("*.so*")) if path.suffix == ".so" or ".so." in path.name]
    torch = site / "torch" if (site / "torch" / "lib").is_dir() else None
    with ExitStack() as stack:
        # as if they lay where they are to go, so that they find each other and torch
        home = site if torch else patient.site
        places = {home / path.relative_to(site): path for path in binaries}
        overlay = {place: view for place, path in places.items() if (view := _opened(path, stack))}
        imported = {
            place: str(path.relative_to(site))
            for place, path in places.items()
            if _is_extension(path.relative_to(site))
        }
        return tuple(Court.of(patient, facts, overlay, torch).faults(imported))


def _opened(path: Path, stack: ExitStack) -> Buffer | None:
    """The file in memory; one that cannot be read (an empty one) is judged as missing."""
    try:
        return stack.enter_context(mapped(path))
    except BadBinary:
        return None


def _is_extension(inside: Path) -> bool:
    """What Python imports; libraries of a package are loaded by those, and torch's own by torch in its own order."""
    room = inside.parts[0]
    return inside.suffix == ".so" and room not in {"torch", "triton", "nvidia"} and not room.endswith(".libs")


def installed_faults(paths: tuple[Path, ...], patient: TargetState, facts: Facts) -> tuple[str, ...]:
    """The same for files that are installed."""
    return tuple(Court.of(patient, facts, {}).faults({path: path.name for path in paths})) if paths else ()
