"""What `doctor check` read of a machine (an Environment and its findings), as the parts that the rules ask for."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.model import Absent, Habitat, Severity, Unknown, known
from flash_doctor.preflight.inputs import Card, Disk, Distributions, FlashBuild, HostResources
from flash_doctor.system.requirement import readable
from flash_doctor.system.secret_names import says_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packaging.version import Version

    from flash_doctor.model import Environment, Finding, Gpus, Host, Packages, Part, Volume
    from flash_doctor.preflight.config import Run

_FLASH_NAMES = {"flash-attn", "flash_attn", "flash_attn_2_cuda"}
_LOOPBACK = {"localhost", "127.0.0.1", "0.0.0.0", "::1"}
_PATIENCE = 0.5
_ENOUGH = 2**40  # where /dev/shm could not be measured, `doctor check` says so
_VARIABLES = (
    "WANDB_",
    "HF_",
    "HUGGING",
    "NCCL_",
    "AXOLOTL_",
    "WORLD_SIZE",
    "RUNPOD_",
    "XDG_CACHE_HOME",
    "CUDA_VISIBLE",
)


def relevant(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a training framework reads; of a secret only that it is there."""
    return {
        name: "set" if value and says_secret(name) else value
        for name, value in environ.items()
        if name.startswith(_VARIABLES)
    }


def system(host: Part[Host]) -> Part[HostResources]:
    if isinstance(host, (Absent, Unknown)):
        return host
    memory, cores, shm = host.memory, host.cores, host.shm
    if isinstance(memory, (Absent, Unknown)) or isinstance(cores, (Absent, Unknown)):
        return Unknown(unknown="memory or cores of the machine could not be read")
    volume = known(shm)
    return HostResources(
        wsl=host.habitat is Habitat.WSL2,
        container=host.habitat is Habitat.CONTAINER,
        cpus=cores.logical,
        quota=cores.quota,
        ram_free=min(memory.available, memory.limit),
        shm=volume.free if volume else _ENOUGH,
    )


def cards(gpus: Part[Gpus]) -> Part[tuple[Card, ...]]:
    """The GPUs that CUDA may see; Unknown where memory or compute capability of one was not read."""
    if isinstance(gpus, (Absent, Unknown)):
        return gpus
    found = []
    for gpu in gpus.devices:
        if known(gpu.visible) is False:
            continue
        capability, memory = known(gpu.capability), known(gpu.memory)
        if capability is None or memory is None:
            return Unknown(unknown=f"compute capability or memory of GPU {gpu.index} could not be read")
        found.append(Card(name=gpu.name, capability=capability, memory=memory, used=known(gpu.memory_used) or 0))
    return tuple(found) or Absent(absent="no GPU is visible")


def stack(packages: Part[Packages]) -> Part[Distributions]:
    if isinstance(packages, (Absent, Unknown)):
        return packages
    versions: dict[str, Version] = {}
    for package in packages.distributions:
        version = known(package.version)
        if version is not None:
            versions.setdefault(str(package.name), version)
    return Distributions(versions=versions)


def flash(environment: Environment, findings: tuple[Finding, ...]) -> Part[FlashBuild]:
    """Whether the installed flash-attn can be loaded, by what `check` found out about its binaries."""
    part = environment.flash
    if isinstance(part, (Absent, Unknown)):
        return part
    wrong = [each for each in findings if each.severity is Severity.ERROR and each.subject in _FLASH_NAMES]
    error = f"{wrong[0].code}: {wrong[0].summary}" if wrong else ""
    return FlashBuild(loads=not wrong, error=error)


def pins(environment: Environment) -> Part[Mapping[str, str]]:
    """What the installed axolotl requires, by distribution; extras and other platforms left out."""
    packages, python = environment.packages, environment.python
    if isinstance(packages, (Absent, Unknown)):
        return packages
    axolotl = packages.find("axolotl")
    if axolotl is None:
        return Absent(absent="axolotl is not installed")
    markers = None if isinstance(python, (Absent, Unknown)) else python.markers
    return {str(line.name): line.specifier for line in readable(axolotl.requires) if line.holds(markers)}


def disk(folder: Path, volume: Part[Volume], hub: Path) -> Part[Disk]:
    """The volume of output_dir; whether it may be written to, by its nearest folder that exists."""
    if isinstance(volume, (Absent, Unknown)):
        return volume
    here, there = _nearest(folder), _nearest(hub)
    return Disk(
        mount=str(folder),
        total=volume.total,
        free=volume.free,
        writable=os.access(here, os.W_OK) and here.is_dir(),
        shares_hub=here.stat().st_dev == there.stat().st_dev,
        filesystem=volume.filesystem,
        checkpoints=len(list(folder.glob("checkpoint-*"))) if folder.is_dir() else 0,
    )


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that exists and may be looked at."""
    for path in (folder, *folder.parents):
        with contextlib.suppress(OSError, ValueError):
            if path.exists():
                return path
    return Path("/")


def logged_in(variables: Mapping[str, str], home: Path) -> bool:
    """Whether ~/.netrc has an entry for Weights & Biases; the entry itself is not kept."""
    host = variables.get("WANDB_BASE_URL", "https://api.wandb.ai").partition("://")[2].partition("/")[0]
    try:
        return bool(host) and host in (home / ".netrc").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False


def interfaces(folder: Path = Path("/sys/class/net")) -> Part[tuple[str, ...]]:
    try:
        return tuple(sorted(path.name for path in folder.iterdir()))
    except OSError as error:
        return Unknown(unknown=f"{folder}: {error.strerror}")


def server(run: Run) -> Part[bool]:
    """Whether something listens at the vLLM server's port; only this machine's own is knocked at."""
    host, port = str(run.get("trl/vllm_server_host") or "0.0.0.0"), run.count("trl/vllm_server_port", 8000)
    if not run.on("trl/use_vllm"):
        return Absent(absent="no vLLM server is asked for")
    if host not in _LOOPBACK or not 0 < port < 65536:
        return Unknown(unknown=f"the vLLM server at {host} is another machine; it was not asked")
    try:
        with socket.create_connection(("127.0.0.1" if host == "0.0.0.0" else host, port), timeout=_PATIENCE):
            return True
    except OSError:
        return False
