"""D2: the NVIDIA driver: is it there, of one piece, and new enough? No Python package can repair these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flash_doctor.diagnose.gpu import lost
from flash_doctor.diagnose.registry import check
from flash_doctor.facts import Facts
from flash_doctor.model import (
    Absent,
    Driver,
    Family,
    Gpus,
    Habitat,
    Host,
    Severity,
    Torch,
    Unknown,
    driver_number,
    known,
)
from flash_doctor.rules import explains
from flash_doctor.rules.engine import CouldNotLook, Found, need
from flash_doctor.system.commands import advice, command

if TYPE_CHECKING:
    from packaging.version import Version

    from flash_doctor.facts.drivers import DriverNeed


_NOT_LOADED = "NVML_ERROR_DRIVER_NOT_LOADED"
_OUT_OF_STEP = "NVML_ERROR_LIB_RM_VERSION_MISMATCH"
# What an NVML error means, and the host's command; by the beginning of the name.
_ERRORS = {
    "NVML_ERROR_GPU_IS_LOST": ("a GPU has fallen off the bus", command("sudo dmesg | grep -i xid")),
    "NVML_ERROR_RESET_REQUIRED": ("a GPU must be reset", command("sudo nvidia-smi --gpu-reset")),
    "NVML_ERROR_NO_PERMISSION": ("this user may not open the GPU's device files", command("ls -l /dev/nvidia*")),
    "NVML_ERROR_IRQ_ISSUE": ("the kernel has trouble with a GPU's interrupts", command("sudo dmesg | grep -i nvrm")),
    "NVML hangs": ("a request to the driver never came back", command("sudo dmesg | grep -i -e xid -e nvrm")),
}
_LOAD = (command("sudo modprobe nvidia"), command("dkms status"), command("sudo dmesg | grep -i -e nvidia -e nvrm"))
_INSTALL = (command("ubuntu-drivers devices"), command("sudo ubuntu-drivers install"))
_LEFT_OUT = (command("sudo dmesg | grep -i nvrm"), command("lspci -nnk -d 10de:"))
_OTHER_TORCH = (command("flash-doctor plan --allow torch"),)
# What an error is about that another rule tells of, too.
_ABOUT = {_OUT_OF_STEP: explains.VERSIONS, "NVML_ERROR_NO_PERMISSION": explains.DEVICE_FILES}
_FROM_HOST = "This is repaired on the host, by whoever runs the machine; no Python package can."


def module_loaded(driver: Driver) -> bool:
    """Whether the kernel module is there, as far as NVML says: a library alone drives nothing."""
    return not (known(driver.failure) or "").startswith(_NOT_LOADED)


@check("D201", Family.DRIVER, host_only=True)
def driver_missing(driver: Driver | Absent, gpus: Gpus, host: Host) -> Iterator[Found]:
    """The machine has an NVIDIA GPU, but no working driver.

    The GPU is seen on the PCI bus; the driver is not installed, or its kernel module is not loaded. After a kernel
    update the module must be built anew (DKMS does that, when the kernel's headers are there); with Secure Boot an
    unsigned module is refused.

    Check by hand: `lspci | grep -i nvidia` shows the GPU, `nvidia-smi` fails.

    What to do: install the driver of your distribution, or load its module, on the host.
    """
    if host.habitat is not Habitat.BARE or not known(gpus.on_bus):
        return
    if isinstance(driver, Absent) or not module_loaded(driver):
        installed = isinstance(driver, Driver)
        yield Found(
            severity=Severity.ERROR,
            subject="NVIDIA driver",
            summary="the driver's kernel module is not loaded" if installed else "no NVIDIA driver is installed",
            evidence=(
                f"{known(gpus.on_bus)} NVIDIA GPU(s) on the PCI bus (`lspci -d 10de:` lists them)",
                driver.absent if isinstance(driver, Absent) else f"NVML answers {known(driver.failure)}",
            ),
            remedy=advice(
                f"Load or install the driver. {_FROM_HOST}",
                *(_LOAD if installed else _INSTALL),
            ),
        )


@check("D202", Family.DRIVER, host_only=True)
def out_of_step(driver: Driver, host: Host) -> Iterator[Found]:
    """The driver's library and its kernel module are of different versions.

    The driver was updated on disk (often by unattended upgrades) while the old module stayed loaded; or driver packages
    were installed inside a container beside those that the host lends it. `nvidia-smi` says `Driver/library version
    mismatch`, CUDA says error 803. Programs that were already running go on.

    Check by hand: compare `cat /proc/driver/nvidia/version` with the version in the name of the file that
    `ldconfig -p | grep libnvidia-ml` points to.

    What to do: reboot (or unload and load the module); in a container remove the driver packages from the image.
    """
    module, library = known(driver.module), known(driver.library)
    failure = known(driver.failure) or ""
    differ = module is not None and library is not None and module != library
    linux = host.habitat is not Habitat.WSL2  # there the two always differ: one is of Windows
    if not linux or not (differ or failure.startswith(_OUT_OF_STEP)):
        if linux and not failure:
            need(driver.module, absent=None), need(driver.library, absent=None)
        return
    contained = host.habitat is Habitat.CONTAINER
    yield Found(
        severity=Severity.ERROR,
        subject="NVIDIA driver",
        summary=f"the driver's library ({_number(library)}) and kernel module ({_number(module)}) do not match",
        evidence=(
            f"/proc/driver/nvidia/version: {_number(module)}",
            f"libnvidia-ml.so.1: {_number(library)}",
            *((f"NVML answers {failure}",) if failure else ()),
        ),
        about=(explains.VERSIONS,),
        remedy=advice(
            "Remove the driver packages from the image: the host lends its own."
            if contained
            else f"Reboot, so that the new module is loaded, and hold the driver's packages. {_FROM_HOST}",
            command("apt list --installed 'libnvidia-*' 'nvidia-*'") if contained else command("sudo reboot"),
        ),
    )


@check("D203", Family.DRIVER, host_only=True)
def driver_answers_with_error(driver: Driver, gpus: Gpus | Absent | Unknown, host: Host) -> Iterator[Found]:
    """The driver is there, and answers with an error, for all or for one GPU.

    NVML is the driver's own interface for questions; `nvidia-smi` uses it too. While it fails, CUDA fails. The finding
    names NVML's error and what that usually means.

    Check by hand: `nvidia-smi`.

    What to do: look into the kernel's log on the host; a lost GPU needs a reset or a reboot.
    """
    lent = host.habitat is Habitat.CONTAINER and isinstance(driver.library, Absent)
    if lent or host.habitat is Habitat.WSL2:
        return
    failure = need(driver.failure, absent="")
    told = {"NVML": failure} if failure else lost(gpus)
    failure = next(iter(told.values()), "")
    if not failure or not module_loaded(driver):
        return  # without its module there is no driver that could answer
    meaning, shows = next(
        (entry for name, entry in _ERRORS.items() if failure.startswith(name)),
        ("the driver refuses to answer", command("nvidia-smi")),
    )
    yield Found(
        severity=Severity.ERROR,
        subject="NVIDIA driver",
        summary=f"the driver answers with an error: {meaning}",
        evidence=(
            *(f"{who}: {error}" for who, error in told.items()),
            f"kernel module: {_number(known(driver.module))}",
        ),
        about=tuple(thing for name, thing in _ABOUT.items() if failure.startswith(name)),
        remedy=advice(f"Look at what this shows; often only a reboot helps. {_FROM_HOST}", shows),
    )


@check("D204", Family.DRIVER)
def driver_too_old(driver: Driver, gpus: Gpus, torch: Torch, host: Host, facts: Facts) -> Iterator[Found]:
    """The driver is older than torch's CUDA build wants.

    torch brings its own CUDA libraries; of the machine it only needs the driver. For each CUDA there is an oldest
    driver. Within a CUDA major version an older driver still works, with one limit: it cannot compile PTX (GPU code in
    a general form) of the newer CUDA, so the binary must hold finished code (SASS) for this very GPU. That is an error
    only where torch has none. Below the floor of the major version CUDA says `The NVIDIA driver on your system is too
    old (found version 12040)`; that number means CUDA 12.4, not a driver.

    Check by hand: `nvidia-smi` shows the driver and, as "CUDA Version", the newest CUDA that it fully runs.

    What to do: update the driver on the host, or install a torch built with an older CUDA.
    """
    cuda, max_cuda = known(torch.cuda), known(driver.max_cuda)
    if cuda is None or (max_cuda and max_cuda >= cuda):
        return
    wants, version = _need(cuda, host, facts), _version(driver)
    if wants.full and version >= wants.full:
        return
    severity, limit = _judge(version, wants, _coverage(torch, gpus, host, facts))
    yield Found(
        severity=severity,
        subject="NVIDIA driver",
        summary=f"driver {_number(version)} is older than torch {torch.version} (CUDA {cuda}) wants: {limit}",
        evidence=(
            f"driver {_number(version)} (read through {driver.source.value})",
            f"{torch.location / 'version.py'}: cuda = {cuda}",
            f"CUDA {cuda} wants {_number(wants.full)}, and at least {_number(wants.minimum)}: {wants.source}",
        ),
        remedy=advice(
            "Update the driver on the host, or install a torch with an older CUDA in its place."
            if severity is not Severity.INFO
            else "Nothing must be done; a newer driver on the host lifts the limit.",
            *(_OTHER_TORCH if severity is Severity.ERROR else ()),
        ),
    )


def _number(version: Version | None) -> str:
    return driver_number(version) if version else "a version not known"


def _need(cuda: Version, host: Host, facts: Facts) -> DriverNeed:
    need = facts.drivers.oldest_for(cuda, windows=host.habitat is Habitat.WSL2)
    if need is None:
        message = f"which driver CUDA {cuda} needs is not in the facts"
        raise CouldNotLook(message)
    return need


def _version(driver: Driver) -> Version:
    version = driver.version
    if isinstance(version, (Absent, Unknown)):
        message = f"the driver's version is not known: {getattr(version, 'unknown', 'no kernel module')}"
        raise CouldNotLook(message)
    return version


def _coverage(torch: Torch, gpus: Gpus, host: Host, facts: Facts) -> bool | None:
    """Whether torch holds finished code for every GPU; None where the facts do not know."""
    cuda = known(torch.cuda)
    build = facts.torch.build(torch.version, cuda) if cuda else None
    code = build.code.get(host.machine) if build and known(torch.vendor) is None else None
    capabilities = [known(gpu.capability) for gpu in gpus.devices]
    if code is None or None in capabilities:
        return None
    return all(any(facts.gpus.runs_sass(sass, gpu) for sass in code.sass) for gpu in capabilities if gpu)


def _judge(version: Version, need: DriverNeed, covered: bool | None) -> tuple[Severity, str]:
    if version < need.minimum:
        return Severity.ERROR, f"it needs at least {_number(need.minimum)}"
    if covered is False:
        return (
            Severity.ERROR,
            "torch has only general code (PTX) for this GPU, which this driver cannot compile",
        )
    if covered is None:
        return Severity.WARNING, "torch runs only if it holds finished code for this GPU, which is not known"
    return Severity.INFO, "torch runs; programs that bring general GPU code (PTX) of that CUDA do not"


@check("D205", Family.DRIVER, host_only=True)
def driver_older_than_gpu(driver: Driver, gpus: Gpus, host: Host, facts: Facts) -> Iterator[Found]:
    """The driver is older than this GPU wants.

    A GPU needs a driver that knows it, whatever CUDA is used. An early driver may list it and still fail, or run it
    with faults that later ones repair.

    Check by hand: `nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv`.

    What to do: update the driver on the host.
    """
    version = _version(driver)
    for gpu in gpus.devices if host.habitat is not Habitat.WSL2 else ():
        capability = known(gpu.capability)
        floor = facts.drivers.oldest_for_gpu(capability) if capability else None
        if floor and version < floor.linux:
            yield Found(
                severity=Severity.WARNING,
                subject="NVIDIA driver",
                summary=f"driver {_number(version)} is older than {gpu.name} wants: {_number(floor.linux)} or newer",
                evidence=(f"GPU {gpu.index}: compute capability {capability}", f"{floor.source}"),
                remedy=advice(f"Update the driver. {_FROM_HOST}", command("nvidia-smi")),
            )
            return


@check("D206", Family.DRIVER, host_only=True)
def gpus_not_driven(driver: Driver, gpus: Gpus, host: Host) -> Iterator[Found]:
    """There are more NVIDIA GPUs on the bus than the driver drives.

    A driver leaves out a GPU that it does not know (too old a driver for a new GPU, too new a one for an old GPU), one
    that failed, and, for Blackwell GPUs, every one when the closed kernel module is used: they need the open one.

    Check by hand: `lspci | grep -i nvidia` against `nvidia-smi -L`; `sudo dmesg | grep -i nvrm` says why.

    What to do: install the driver that knows the GPU; for Blackwell the open kernel module.
    """
    if host.habitat is not Habitat.BARE or need(driver.failure, absent=None) is not None:
        return
    on_bus = need(gpus.on_bus, absent=0)
    if on_bus <= len(gpus.devices):
        return
    closed = known(driver.open_module) is False
    yield Found(
        severity=Severity.WARNING if gpus.devices else Severity.ERROR,
        subject="NVIDIA driver",
        summary=f"the driver drives {len(gpus.devices)} of {on_bus} NVIDIA GPUs of this machine",
        evidence=(
            f"{on_bus} NVIDIA GPU(s) on the PCI bus (`lspci -d 10de:` lists them)",
            f"the driver lists: {', '.join(gpu.name for gpu in gpus.devices) or 'none'}",
            *(("the closed kernel module is loaded, which leaves out Blackwell GPUs",) if closed else ()),
        ),
        remedy=advice(f"See why the driver leaves it out. {_FROM_HOST}", *_LEFT_OUT),
    )
