"""D25: what stands between the driver and this process: containers, WSL2, device files, fabric, another libcuda."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.version import Version

from flash_doctor.diagnose.driver import module_loaded
from flash_doctor.diagnose.registry import check
from flash_doctor.facts import Facts
from flash_doctor.model import (
    Absent,
    Driver,
    Family,
    Gpus,
    Habitat,
    Host,
    LoaderPath,
    Severity,
    Unknown,
    driver_number,
    known,
)
from flash_doctor.rules import explains
from flash_doctor.rules.engine import Found, need
from flash_doctor.system.commands import advice, command

_GPU_NODE = re.compile(r"/dev/nvidia\d+")
_NEEDED_NODE = re.compile(r"/dev/(nvidia\d+|nvidiactl|nvidia-uvm|dxg)")
_CUDA_FOLDER = re.compile(r"cuda-(\d+\.\d+)")


@check("D251", Family.DRIVER, host_only=True)
def not_passed_into_container(driver: Driver | Absent, gpus: Gpus, host: Host) -> Iterator[Found]:
    """The host has GPUs, but this container was given none.

    A container sees a GPU only when it is started with it: then the NVIDIA container toolkit puts the driver's library
    and the device files inside. Here the GPU is seen on the bus, and one of the two is missing.

    Check by hand: `ls /dev/nvidia*` and `nvidia-smi`, in the container and on the host.

    What to do: install the NVIDIA container toolkit on the host and start the container with `--gpus all`.
    """
    on_bus = known(gpus.on_bus)
    if host.habitat is not Habitat.CONTAINER or not on_bus:
        return
    no_library = isinstance(driver, Absent) or isinstance(driver.library, Absent)
    no_nodes = not any(_GPU_NODE.fullmatch(node) for node in gpus.device_nodes)
    if no_library or no_nodes:
        yield Found(
            severity=Severity.ERROR,
            subject="container",
            summary=f"the host has {on_bus} NVIDIA GPU(s), none of them is usable in this container",
            evidence=(
                f"{host.habitat_evidence}",
                f"{on_bus} NVIDIA GPU(s) on the PCI bus (`lspci -d 10de:` lists them)",
                *(("libnvidia-ml.so.1 is not in the container",) if no_library else ()),
                *(("/dev has no nvidia0, nvidia1, …",) if no_nodes else ()),
            ),
            remedy=advice(
                "Start the container with the GPUs; the host needs the NVIDIA container toolkit once.",
                command("sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"),
                command("docker run --gpus all …"),
            ),
        )


@check("D252", Family.DRIVER, host_only=True)
def device_files(driver: Driver, gpus: Gpus, host: Host) -> Iterator[Found]:
    """A device file of the GPUs is missing, or this user may not open it.

    CUDA talks to the driver through /dev/nvidiactl, /dev/nvidia0 (one per GPU) and /dev/nvidia-uvm, and opens them for
    reading and writing. Without /dev/nvidia-uvm `nvidia-smi` works and CUDA says `CUDA unknown error`. On a bare
    machine the first CUDA program after a start makes it, when nvidia-modprobe is installed.

    Check by hand: `ls -l /dev/nvidia*` and `id`.

    What to do: join the group that owns them; for a missing one run nvidia-modprobe, or start the container anew.
    """
    closed = [node for node in gpus.unreadable_nodes if _NEEDED_NODE.fullmatch(node)]
    if closed:
        yield Found(
            severity=Severity.ERROR,
            subject="device files",
            summary="this user may not open the GPU's device files",
            evidence=tuple(f"{node}: no permission to read and write" for node in closed),
            about=(explains.DEVICE_FILES,),
            remedy=advice(
                "Join the group that owns them, and log in again.",
                command("ls -l /dev/nvidia*"),
                command('sudo usermod -aG video "$USER"'),
            ),
        )
    usable = gpus.devices and known(driver.failure) is None and host.habitat is not Habitat.WSL2
    if usable and gpus.device_nodes and "/dev/nvidia-uvm" not in gpus.device_nodes:
        contained = host.habitat is Habitat.CONTAINER
        yield Found(
            severity=Severity.ERROR if contained else Severity.INFO,
            subject="device files",
            summary="/dev/nvidia-uvm is missing: CUDA programs end with `CUDA unknown error`"
            if contained
            else "/dev/nvidia-uvm is not there yet; the first CUDA program makes it if nvidia-modprobe is installed",
            evidence=(f"found: {', '.join(gpus.device_nodes)}",),
            remedy=advice("Make it on the host.", command("sudo nvidia-modprobe -u -c=0")),
        )


@check("D253", Family.DRIVER, host_only=True)
def wsl2_driver(driver: Driver | Absent, host: Host) -> Iterator[Found]:
    """The Windows driver does not reach this WSL2.

    WSL2 has no NVIDIA driver of its own: Windows' driver lends its library in /usr/lib/wsl/lib and the device /dev/dxg.
    A Linux driver installed inside WSL2 puts its own libcuda before that one and breaks it.

    Check by hand: `ls /usr/lib/wsl/lib/libcuda.so.1 /dev/dxg`, and `ldconfig -p | grep libcuda`.

    What to do: install the driver in Windows only; remove Linux driver packages inside, then `wsl --shutdown`.
    """
    failure = known(driver.failure) if isinstance(driver, Driver) else None
    if host.habitat is not Habitat.WSL2 or (isinstance(driver, Driver) and failure is None):
        return
    yield Found(
        severity=Severity.ERROR if failure else Severity.INFO,
        subject="WSL2",
        summary="the NVIDIA driver of Windows does not work in this WSL2"
        if failure
        else "no NVIDIA driver of Windows reaches this WSL2",
        evidence=(f"NVML: {failure}" if failure else getattr(driver, "absent", ""), host.habitat_evidence),
        remedy=advice(
            "Install the driver in Windows, no driver inside WSL2, and restart WSL2.",
            command("ls -l /usr/lib/wsl/lib/ /dev/dxg"),
            command("apt list --installed 'libnvidia-*' 'nvidia-driver-*'"),
        ),
    )


@check("D254", Family.DRIVER, host_only=True)
def fabric_not_ready(driver: Driver, gpus: Gpus) -> Iterator[Found]:
    """The NVSwitch fabric between the GPUs is not ready.

    On machines with NVSwitch (8 x H100, H200, B200) the service nvidia-fabricmanager must run, in the driver's version,
    and register each GPU. Until then `nvidia-smi` lists every GPU and CUDA says error 802, `system not yet
    initialized`. It is a service of the host: nothing inside a container can start it.

    Check by hand: `nvidia-smi -q | grep -A3 Fabric` says `Completed`, `systemctl status nvidia-fabricmanager`.

    What to do: start the service on the host, in exactly the driver's version.
    """
    states = {gpu.index: known(gpu.fabric) for gpu in gpus.devices if known(gpu.mig) is not True}
    unfinished = {index: state for index, state in states.items() if state and state != "completed"}
    finished = any(state == "completed" for state in states.values())
    if not unfinished and (finished or not driver.nvswitches or isinstance(driver.fabric_manager, str)):
        return
    if not unfinished:
        need(driver.fabric_manager, absent=None)
    yield Found(
        severity=Severity.ERROR,
        subject="NVSwitch fabric",
        summary="the GPUs are not registered with the NVSwitch fabric: CUDA ends with error 802",
        evidence=(
            *(f"GPU {index}: fabric {state}" for index, state in unfinished.items()),
            f"{driver.nvswitches} NVSwitch(es); fabric manager: {_told(driver.fabric_manager)}",
        ),
        remedy=advice(
            "Start the fabric manager on the host, in the driver's version; inside a container it cannot be done.",
            command("sudo systemctl enable --now nvidia-fabricmanager"),
            command("systemctl status nvidia-fabricmanager"),
        ),
    )


def _told(part: str | Absent | Unknown) -> str:
    return part if isinstance(part, str) else part.absent if isinstance(part, Absent) else part.unknown


@check("D255", Family.DRIVER, host_only=True)
def forward_compatibility(driver: Driver, gpus: Gpus, facts: Facts) -> Iterator[Found]:
    """A CUDA forward-compatibility library stands before the driver's own libcuda.

    The package cuda-compat (in NVIDIA's CUDA images: /usr/local/cuda/compat) brings a newer libcuda for data center
    GPUs with an old driver. On GeForce and TITAN it is refused: error 804, `forward compatibility was attempted on non
    supported HW`. A compat library older than the driver ends in error 803.

    Check by hand: `ldconfig -p | grep libcuda.so.1`, `echo $LD_LIBRARY_PATH`.

    What to do: take the compat folder out of LD_LIBRARY_PATH and of /etc/ld.so.conf.d.
    """
    library, version = known(driver.compat_library), known(driver.version)
    refused = [gpu.name for gpu in gpus.devices if facts.drivers.refuses_forward_compatibility(gpu.name)]
    outdated = _outdated(str(library), driver, facts)
    if library and (refused or outdated):
        yield Found(
            severity=Severity.ERROR,
            subject="libcuda.so.1",
            summary=f"forward compatibility is refused on {refused[0]}: CUDA ends with error 804"
            if refused
            else f"this libcuda is of CUDA {outdated}, older than the driver: CUDA ends with error 803",
            evidence=(f"the loader takes {library}", f"driver {driver_number(version) if version else 'not read'}"),
            remedy=advice(
                f"Take {library.parent} out of LD_LIBRARY_PATH and of the files in /etc/ld.so.conf.d (then run "
                "ldconfig): the driver's own libcuda is used again. These show where it is named:",
                command("echo $LD_LIBRARY_PATH"),
                command("grep -r compat /etc/ld.so.conf.d"),
            ),
        )


def _outdated(library: str, driver: Driver, facts: Facts) -> Version | None:
    """The CUDA of a compat library whose folder tells it, when the driver is at least a major branch newer."""
    match = _CUDA_FOLDER.search(library)
    need = facts.drivers.oldest_for(Version(match[1])) if match else None
    version = known(driver.version)
    if match is None or need is None or need.full is None or version is None:
        return None
    return need.cuda if version.major > need.full.major else None


@check("D256", Family.DRIVER, host_only=True)
def stub_libcuda(loader: LoaderPath, driver: Driver) -> Iterator[Found]:
    """LD_LIBRARY_PATH puts a placeholder before the driver's libcuda.

    The CUDA toolkit has folders named stubs with an empty libcuda, for linking on machines without a driver. At run
    time it answers every call with an error (`CUDA_ERROR_STUB_LIBRARY`, error 34).

    Check by hand: `echo $LD_LIBRARY_PATH`.

    What to do: take the folder out of LD_LIBRARY_PATH; for linking use LIBRARY_PATH.
    """
    stubs = [entry.path for entry in loader.libraries if entry.soname == "libcuda.so.1" and "stubs" in entry.path.parts]
    if stubs and module_loaded(driver):
        yield Found(
            severity=Severity.ERROR,
            subject="libcuda.so.1",
            summary="LD_LIBRARY_PATH leads to a placeholder instead of the driver's libcuda",
            evidence=tuple(f"on LD_LIBRARY_PATH: {path}" for path in stubs),
            remedy=advice(
                "Take the stubs folder out of LD_LIBRARY_PATH, where it is set (shell profile, module, image).",
                command('echo "$LD_LIBRARY_PATH" | tr : "\\n" | grep stubs'),
            ),
        )
