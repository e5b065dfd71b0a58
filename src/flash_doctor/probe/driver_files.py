"""What the kernel itself tells of NVIDIA hardware, without NVML: /proc/driver/nvidia, the PCI bus, /dev."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flash_doctor.errors import CommandFailed
from flash_doctor.model import Absent, Gpu, Part, Unknown
from flash_doctor.probe.files import exists, names_in, text_of, version_in
from flash_doctor.system.process import Command

if TYPE_CHECKING:
    from packaging.version import Version

    from flash_doctor.system.process import Runner

_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"
_MODULE = re.compile(r"NVRM version:.*?\s(\d+\.\d+(?:\.\d+)*)\s")
_PROC = Path("proc/driver/nvidia")
_NOT_TOLD = Unknown(unknown="/proc/driver/nvidia does not tell; NVML did not answer")
# the kernel keeps 15 characters of a process name: nv-fabricmanager
_FABRIC_MANAGER = "nv-fabricmanage"


class KernelModule(NamedTuple):
    """The loaded nvidia.ko: its version, and whether it is the open one."""

    version: Part[Version]
    is_open: Part[bool]


def read_module(root: Path) -> KernelModule:
    text = text_of(root / _PROC / "version")
    if text is None:
        gone = Absent(absent="/proc/driver/nvidia/version is not there: the kernel has no nvidia module loaded")
        return KernelModule(version=gone, is_open=gone)
    return KernelModule(version=version_in(text, _MODULE), is_open="Open Kernel Module" in text)


def on_bus(root: Path) -> Part[int]:
    """NVIDIA display and 3D controllers on the PCI bus, driver or not."""
    bus = root / "sys/bus/pci/devices"
    if not exists(bus):
        return Unknown(unknown="/sys/bus/pci/devices is not there")
    return sum(_is_nvidia_display(bus / name) for name in names_in(bus))


def _is_nvidia_display(device: Path) -> bool:
    vendor = text_of(device / "vendor")
    return vendor is not None and vendor.strip() == _NVIDIA and _is_display(text_of(device / "class") or "")


def _is_display(kind: str) -> bool:
    return kind.startswith(_DISPLAY_CLASS)


def device_nodes(root: Path) -> tuple[str, ...]:
    """/dev/nvidia* and WSL2's /dev/dxg."""
    names = [name for name in names_in(root / "dev") if name.startswith("nvidia") or name == "dxg"]
    return tuple(f"/dev/{name}" for name in names)


def unreadable(nodes: tuple[str, ...], root: Path) -> tuple[str, ...]:
    """Those nodes that this user may not open for reading and writing, as CUDA must."""
    return tuple(node for node in nodes if not os.access(root / node[1:], os.R_OK | os.W_OK))


def nvswitches(root: Path) -> int:
    listed = len(names_in(root / "proc/driver/nvidia-nvswitch/devices"))
    return listed or sum(bool(re.fullmatch(r"nvidia-nvswitch\d+", name)) for name in names_in(root / "dev"))


def fabric_manager(root: Path) -> Part[str]:
    """`running (pid N)`; Unknown where a PID namespace hides the host's processes."""
    # read by hand: importing psutil costs 15 ms, this costs 10 us a process and runs on NVSwitch machines only
    for name in names_in(root / "proc"):
        if name.isdigit() and (text_of(root / "proc" / name / "comm") or "").strip() == _FABRIC_MANAGER:
            return f"running (pid {name})"
    if (text_of(root / "proc/2/comm") or "").strip() == "kthreadd":
        return Absent(absent="no nv-fabricmanager among the processes")
    return Unknown(unknown="the host's processes cannot be seen from in here")


def list_gpus(root: Path, runner: Runner) -> Part[tuple[Gpu, ...]]:
    """The GPUs of /proc/driver/nvidia/gpus; read by a bounded child, since a wedged driver blocks even that."""
    folder = root / _PROC / "gpus"
    files = [str(folder / name / "information") for name in names_in(folder)]
    if not files:
        return Unknown(unknown="/proc/driver/nvidia/gpus lists none")
    try:
        text = runner.run(Command(argv=("cat", *files), timeout=2.0)).text
    except CommandFailed as failed:
        return Unknown(unknown=failed.message)
    blocks = re.split(r"(?m)^(?=Model:)", text)[1:]
    return tuple(_gpu(index, block) for index, block in enumerate(blocks))


def _gpu(index: int, block: str) -> Gpu:
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
    return Gpu(
        index=index,
        name=facts.get("Model") or f"GPU {index}",
        uuid=_uuid(facts.get("GPU UUID", "")),
        bus_id=facts.get("Bus Location") or _NOT_TOLD,
        memory=_NOT_TOLD,
        memory_used=_NOT_TOLD,
        capability=_NOT_TOLD,
        ecc=_NOT_TOLD,
        mig=_NOT_TOLD,
        processes=_NOT_TOLD,
        fabric=_NOT_TOLD,
        visible=_NOT_TOLD,
    )


def _uuid(text: str) -> Part[str]:
    # before a GPU is first opened, the driver prints question marks for it
    return text if text.startswith("GPU-") and "?" not in text else _NOT_TOLD
