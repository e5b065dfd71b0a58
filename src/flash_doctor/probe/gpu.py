"""The GPUs: what NVML (else nvidia-smi) answers, and which of them CUDA_VISIBLE_DEVICES leaves to a program."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import Version

from flash_doctor.model import Absent, Driver, Gpu, Gpus, GpuSource, Part, Unknown, known
from flash_doctor.probe import driver_files, nvml_query
from flash_doctor.probe.files import exists, version_in
from flash_doctor.probe.loader import compat_library, locate
from flash_doctor.probe.nvml_query import NvmlAnswer
from flash_doctor.system.paths import find_program
from flash_doctor.system.secret_names import says_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_doctor.probe.driver_files import KernelModule
    from flash_doctor.system.process import Runner, Running


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


NVML = "libnvidia-ml.so.1"
# Without a persistence daemon the driver wakes each GPU on first use: seconds on a node with eight.
LIMIT = 15.0
_FILE_VERSION = re.compile(r"\.so\.(\d+\.\d+(?:\.\d+)*)$")
_NVML_VERSION = re.compile(r"^\d+\.(\d+\.\d+(?:\.\d+)*)$")  # "12.550.54.15": NVML's major, then the driver's version
_SETTLED = ("NVML_ERROR_DRIVER_NOT_LOADED", "NVML_ERROR_LIB_RM_VERSION_MISMATCH")
_WELL = Absent(absent="it answered without an error")
_PREFIXES = ("CUDA_", "NVIDIA_", "LD_", "NCCL_", "TORCH", "PYTORCH_", "TRITON_", "FLASH_ATTENTION_", "PYTHON")


class _Reading(NamedTuple):
    """What one source told; `failure` as in Driver."""

    source: GpuSource
    failure: Part[str]
    driver: Part[Version]
    library: Part[Version]
    max_cuda: Part[Version]
    gpus: Part[tuple[Gpu, ...]]


def relevant_variables() -> dict[str, str]:
    """The variables that steer CUDA, the loader, NCCL, torch and Python; never one that may hold a secret."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(_PREFIXES) and not says_secret(name)
    }


def start_gpus(runner: Runner, *, root: Path = Path("/"), limit: float = LIMIT) -> PendingGpus:
    """Start asking; nothing is started where no trace of NVIDIA software is.

    Args:
        runner: starts the child.
        root: where /proc, /sys, /dev and /etc are looked for.
        limit: seconds after which the child is abandoned.
    """
    library = locate(NVML, os.environ, root)
    if not _traces(root, library):
        return PendingGpus(runner, root, None, library)
    return PendingGpus(runner, root, nvml_query.start(runner, library, limit), library)


def _traces(root: Path, library: Path | None) -> bool:
    return bool(
        library or exists(root / "proc/driver/nvidia") or driver_files.device_nodes(root) or find_program("nvidia-smi")
    )


class PendingGpus:
    """A question to the driver under way."""

    def __init__(self, runner: Runner, root: Path, child: Running | Unknown | None, library: Path | None) -> None:
        self.runner, self.root, self.child, self.library = runner, root, child, library

    def finish(self) -> tuple[Part[Driver], Part[Gpus]]:
        """Wait for the answer, at most the limit; then the fall-backs, which are bounded too."""
        if self.child is None:
            why = "no libnvidia-ml.so.1, no /proc/driver/nvidia, no /dev/nvidia*, no nvidia-smi"
            return Absent(absent=why), self._gpus(None)
        module = driver_files.read_module(self.root)
        reading = self._read()
        driver = self._driver(reading, module)
        return driver, self._gpus(reading if isinstance(driver, Driver) else None)

    def _read(self) -> _Reading:
        """NVML's answer, or the next best. A hung NVML hangs nvidia-smi too, so that is not tried then."""
        assert self.child is not None
        answer = nvml_query.finish(self.child)
        if not isinstance(answer, NvmlAnswer):
            reading = self._from_kernel(answer)
            return reading if _told(reading).startswith(nvml_query.NO_ANSWER) else self._from_smi(reading)
        reading = self._from_nvml(answer)
        failure = _told(reading)
        return reading if not failure or failure.startswith(_SETTLED) else self._from_smi(reading)

    def _from_nvml(self, answer: NvmlAnswer) -> _Reading:
        cuda, well = answer.cuda, isinstance(answer.failure, Absent)
        return _Reading(
            source=GpuSource.NVML,
            failure=_WELL if well else answer.failure,
            driver=version_in(answer.driver) if isinstance(answer.driver, str) else answer.driver,
            library=self._library(answer),
            max_cuda=_cuda(cuda) if isinstance(cuda, int) else cuda,
            gpus=answer.gpus if well else driver_files.list_gpus(self.root, self.runner),
        )

    def _library(self, answer: NvmlAnswer) -> Part[Version]:
        """Of the file that was loaded; WSL's has no version in its name, but NVML knows its own."""
        if isinstance(answer.library_file, Path):
            version = version_in(str(answer.library_file), _FILE_VERSION)
            if isinstance(version, Version):
                return version
        if isinstance(answer.library, str):
            return version_in(answer.library, _NVML_VERSION)
        return self._library_on_disk()

    def _library_on_disk(self) -> Part[Version]:
        if self.library is None:
            return Absent(absent=f"{NVML} is nowhere the loader looks")
        return version_in(os.path.realpath(self.library), _FILE_VERSION)

    def _from_kernel(self, failure: str | Unknown) -> _Reading:
        told = Unknown(unknown=failure) if isinstance(failure, str) else failure
        return _Reading(
            source=GpuSource.PROC,
            failure=failure,
            driver=told,
            library=self._library_on_disk(),
            max_cuda=told,
            gpus=driver_files.list_gpus(self.root, self.runner),
        )

    def _from_smi(self, reading: _Reading) -> _Reading:
        """nvidia-smi's answer in place of a failed NVML; the failure of both when it fails too."""
        from flash_doctor.probe.nvidia_smi import ask_smi  # seldom needed

        program = find_program("nvidia-smi")
        answer = ask_smi(str(program), self.runner) if program else Absent(absent="nvidia-smi is not on PATH")
        if isinstance(answer, Unknown):
            both = f"{_told(reading)}; {answer.unknown}"
            return reading._replace(failure=both if isinstance(reading.failure, str) else Unknown(unknown=both))
        if isinstance(answer, Absent):
            return reading
        return reading._replace(
            source=GpuSource.NVIDIA_SMI,
            failure=_WELL,
            driver=answer.driver,
            max_cuda=answer.max_cuda,
            gpus=answer.gpus,
        )

    def _driver(self, reading: _Reading, module: KernelModule) -> Part[Driver]:
        failure = _told(reading)
        kernel_version = module.version
        if isinstance(kernel_version, Absent) and not failure:
            kernel_version = reading.driver  # WSL2 has no /proc/driver/nvidia
        library_lost = isinstance(reading.library, Absent)
        if failure and isinstance(kernel_version, Absent) and not failure.startswith(_SETTLED):
            return Absent(absent=f"no library, no kernel module; {failure}") if library_lost else _unknown(failure)
        switches = driver_files.nvswitches(self.root)
        return Driver(
            source=reading.source,
            module=kernel_version,
            library=reading.library,
            max_cuda=reading.max_cuda,
            open_module=module.is_open,
            failure=reading.failure,
            compat_library=compat_library(os.environ, self.root),
            fabric_manager=self._fabric_manager(reading, switches),
            nvswitches=switches,
        )

    def _fabric_manager(self, reading: _Reading, switches: int) -> Part[str]:
        on_fabric = any(isinstance(gpu.fabric, str) for gpu in known(reading.gpus) or ())
        if switches or on_fabric:
            return driver_files.fabric_manager(self.root)
        return Absent(absent="no NVSwitch on this machine, so none is needed")

    def _gpus(self, reading: _Reading | None) -> Part[Gpus]:
        """Absent when neither the driver nor the bus has one."""
        bus = driver_files.on_bus(self.root)
        listed: Part[tuple[Gpu, ...]] = reading.gpus if reading else ()
        failure = _told(reading) if reading else ""
        if isinstance(listed, (Absent, Unknown)):
            if not failure.startswith(_SETTLED[0]):
                return Unknown(unknown=failure or _why(listed))
            listed = ()
        if not listed and not known(bus):
            seen = "none on the PCI bus" if bus == 0 else "the PCI bus cannot be seen"
            return Absent(absent=f"no GPU known to a driver, {seen}")
        nodes = driver_files.device_nodes(self.root)
        return Gpus(
            devices=_with_visibility(listed, os.environ),
            source=reading.source if reading else GpuSource.PROC,
            visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES", Absent(absent="CUDA_VISIBLE_DEVICES is not set")),
            on_bus=bus,
            device_nodes=nodes,
            unreadable_nodes=driver_files.unreadable(nodes, self.root),
        )


def _told(reading: _Reading) -> str:
    """What went wrong: the driver's own word, or why it could not be asked; "" where all went well."""
    return reading.failure.unknown if isinstance(reading.failure, Unknown) else known(reading.failure) or ""


def _cuda(number: int) -> Part[Version]:
    """13.0 of 13000."""
    if not 0 < number < 1_000_000:
        return Unknown(unknown=f"NVML says {number}, which is no release of CUDA")
    return Version(f"{number // 1000}.{number % 1000 // 10}")


def _with_visibility(gpus: tuple[Gpu, ...], environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    seen = visibility(gpus, environ)
    return tuple(replace(gpu, visible=visible) for gpu, visible in zip(gpus, seen, strict=True))


def _why(part: Absent | Unknown) -> str:
    return part.absent if isinstance(part, Absent) else part.unknown


def _unknown(failure: str) -> Unknown:
    return Unknown(unknown=f"the driver could not be asked: {failure}")
