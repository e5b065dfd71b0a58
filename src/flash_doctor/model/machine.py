"""The machine: host, driver, GPUs, and what a build on it would use. Sizes are bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from packaging.version import Version

from flash_doctor.model.part import Absent, Part, Unknown


class Habitat(Enum):
    BARE = "bare"
    CONTAINER = "container"
    WSL2 = "wsl2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A file system seen from one folder: `free` bytes for this user, `total` with what is used, as df counts it.

    Blocks reserved for root are in neither, so that `used_share` is the percentage that df shows.
    """

    path: Path
    filesystem: str
    total: int
    free: int

    @property
    def used_share(self) -> float:
        return 1.0 - self.free / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of RAM: of the machine, allowed to this process (least of all cgroups above it), free now."""

    total: int
    limit: int
    available: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Logical cores of the machine, those this process may use, and the CPU quota in cores (None: none)."""

    logical: int
    usable: int
    quota: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Libc:
    name: str
    version: Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface with hardware behind it: `speed` in Mbit/s and `mtu` in bytes, None where not told."""

    name: str
    up: bool
    speed: int | None
    mtu: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RdmaPort:
    """A port of an RDMA adapter: `link` is InfiniBand or Ethernet (RoCE), `speed` in Mbit/s."""

    name: str
    link: str
    up: bool
    speed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    interfaces: tuple[Interface, ...]
    rdma: tuple[RdmaPort, ...]


_NOT_READ = Unknown(unknown="the network was not read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The operating system around the target."""

    system: str
    kernel: str
    machine: str
    hostname: str
    distribution: Part[str]
    habitat: Habitat
    habitat_evidence: str
    libc: Part[Libc]
    memory: Part[Memory]
    cores: Part[Cores]
    shm: Part[Volume]
    target_disk: Part[Volume]
    temp_disk: Part[Volume]
    cache_disk: Part[Volume]
    network: Part[Network] = _NOT_READ


class GpuSource(Enum):
    NVML = "nvml"
    NVIDIA_SMI = "nvidia-smi"
    PROC = "/proc/driver/nvidia"
    DESCRIBED = "described on the command line"


class DriverVersion(Version):
    """A driver's version: it compares like any other, and prints as NVIDIA writes it (580.65.06, not 580.65.6)."""

    __slots__ = ()

    def __str__(self) -> str:
        first, *rest = self.release
        text = super().__str__()
        # what is more than numbers with dots between is none of NVIDIA's, and stays as it is
        return ".".join([str(first), *(f"{part:02d}" for part in rest)]) if text.replace(".", "").isdigit() else text


def driver_number(version: Version) -> str:
    """A version of a driver from anywhere, such as the facts, as NVIDIA writes it."""
    return str(DriverVersion(str(version)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """The NVIDIA driver: its kernel module and its user-space library must be of one version.

    `max_cuda` is the newest CUDA the driver itself speaks; `failure` the error (name and number) that NVML
    or nvidia-smi answered with, Absent when they answered well, Unknown when they could not be asked;
    `compat_library` a libcuda.so.1 of a CUDA forward-compatibility package that the loader would take before the
    driver's own.
    """

    source: GpuSource
    module: Part[Version]
    library: Part[Version]
    max_cuda: Part[Version]
    open_module: Part[bool]
    failure: Part[str]
    compat_library: Part[Path]
    fabric_manager: Part[str]
    nvswitches: int = 0

    def __post_init__(self) -> None:
        for name in ("module", "library"):
            version = getattr(self, name)
            if isinstance(version, Version):
                object.__setattr__(self, name, DriverVersion(str(version)))

    @property
    def version(self) -> Part[Version]:
        """The running version: the kernel module's, else the library's."""
        return self.library if isinstance(self.module, (Absent, Unknown)) else self.module


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Capability:
    """CUDA compute capability, as in 9.0."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigDevice:
    uuid: str
    name: str
    memory: Part[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    pid: int
    memory: Part[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One physical GPU as the driver numbers it.

    `visible` says whether CUDA_VISIBLE_DEVICES lets CUDA see it; `fabric` how far its registration with the
    NVSwitch fabric came ("completed" when ready), Absent on a GPU without such a fabric.
    """

    index: int
    name: str
    uuid: Part[str]
    bus_id: Part[str]
    memory: Part[int]
    memory_used: Part[int]
    capability: Part[Capability]
    ecc: Part[bool]
    mig: Part[bool]
    mig_devices: tuple[MigDevice, ...] = ()
    processes: Part[tuple[GpuProcess, ...]]
    fabric: Part[str]
    visible: Part[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """Every GPU the driver knows, and what stands between them and this process.

    `on_bus` counts NVIDIA display and 3D controllers on the PCI bus (seen even without a driver);
    `device_nodes` are the /dev/nvidia* files there (WSL2: /dev/dxg), `unreadable_nodes` those this user may not open.
    """

    devices: tuple[Gpu, ...]
    source: GpuSource
    visible_devices: Part[str]
    on_bus: Part[int]
    device_nodes: tuple[str, ...] = ()
    unreadable_nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolkit:
    """One nvcc: where it was found (`origin`: CUDA_HOME, PATH, /usr/local/cuda…, pip, conda) and its version.

    A CUDA_HOME without nvcc is one too, with its version Absent: torch takes it and the build fails.
    """

    nvcc: Path
    origin: str
    version: Part[Version]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    path: Path
    name: str
    version: Part[Version]


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """What a source build would use; `toolkits` in the order a build looks, the first one wins."""

    toolkits: tuple[Toolkit, ...]
    compiler: Part[Tool]
    ninja: Part[Tool]
    python_headers: Part[Path]

    @property
    def chosen(self) -> Toolkit | None:
        return self.toolkits[0] if self.toolkits else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderLibrary:
    """A CUDA-family library (libcudart, libcudnn, libnccl, libnvJitLink, libstdc++ ...) on LD_LIBRARY_PATH."""

    path: Path
    soname: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderPath:
    """LD_LIBRARY_PATH (and LD_PRELOAD) of the target's process, and the libraries of the CUDA family in it."""

    directories: tuple[Path, ...]
    preload: tuple[str, ...]
    libraries: tuple[LoaderLibrary, ...]
