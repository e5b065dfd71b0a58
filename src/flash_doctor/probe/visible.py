"""Which GPUs CUDA_VISIBLE_DEVICES leaves to a CUDA program: NVML ignores it, and CUDA numbers differently."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flash_doctor.model import Gpu, Part, Unknown, known

if TYPE_CHECKING:
    from collections.abc import Mapping

_INDEX = re.compile(r"[+-]?\d{1,9}(?!\d)", re.ASCII)
_ORDER = Unknown(
    unknown="CUDA numbers unequal GPUs by speed, NVML by PCI bus; set CUDA_DEVICE_ORDER=PCI_BUS_ID to make them agree"
)
_NO_UUID = Unknown(unknown="CUDA_VISIBLE_DEVICES names GPUs by UUID, and the UUID of a GPU could not be read")


def visibility(gpus: tuple[Gpu, ...], environ: Mapping[str, str]) -> tuple[Part[bool], ...]:
    """For each GPU: whether CUDA sees it.

    As CUDA reads the variable: up to the first entry that names no GPU; indices, UUIDs or their beginnings.
    An entry given twice hides everything.
    """
    value = environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return (True,) * len(gpus)
    entries = [entry.strip() for entry in value.split(",")]
    by_index = bool(_INDEX.match(entries[0]))
    chosen = _by_index(entries, len(gpus)) if by_index else _by_uuid(entries, gpus)
    if by_index and 0 < len(chosen) < len(gpus) and not _same_numbers(gpus, environ):
        return (_ORDER,) * len(gpus)
    if entries[0].startswith(("GPU", "MIG")) and not all(isinstance(gpu.uuid, str) for gpu in gpus):
        return (_NO_UUID,) * len(gpus)
    return tuple(index in chosen for index in range(len(gpus)))


def _same_numbers(gpus: tuple[Gpu, ...], environ: Mapping[str, str]) -> bool:
    """CUDA puts the fastest first and keeps bus order among equals."""
    return environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({gpu.name for gpu in gpus}) <= 1


def _by_index(entries: list[str], count: int) -> set[int]:
    chosen: list[int] = []
    for entry in entries:
        match = _INDEX.match(entry)
        if not match or not 0 <= int(match[0]) < count:
            break
        chosen.append(int(match[0]))
    return set(chosen) if len(set(chosen)) == len(chosen) else set()


def _by_uuid(entries: list[str], gpus: tuple[Gpu, ...]) -> set[int]:
    chosen: list[str] = []
    found: set[int] = set()
    for entry in entries:
        owners = {position for position, gpu in enumerate(gpus) if _names(entry, gpu)}
        if len(owners) != 1:
            break
        chosen.append(entry)
        found |= owners
    return found if len(set(chosen)) == len(chosen) else set()


def _names(entry: str, gpu: Gpu) -> bool:
    """Whether an entry is this GPU's UUID or one of its MIG slices', whole or in its beginning."""
    uuid = known(gpu.uuid) or ""
    slices = [device.uuid for device in gpu.mig_devices]
    old_mig = f"MIG-{uuid}/"  # MIG-GPU-<uuid>/<instance>/<slice>, of drivers before 470
    if entry.startswith("MIG"):
        return any(name.startswith(entry) for name in slices) or bool(uuid and entry.startswith(old_mig))
    return entry.startswith("GPU-") and uuid.startswith(entry)
