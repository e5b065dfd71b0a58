"""G: the GPUs: how many there are, and which of them this process may use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from flash_doctor.diagnose.registry import check
from flash_doctor.facts import Facts
from flash_doctor.model import (
    Absent,
    Capability,
    Driver,
    Family,
    FlashKind,
    Gpu,
    Gpus,
    Habitat,
    Host,
    Severity,
    Torch,
    Unknown,
    known,
)
from flash_doctor.rules.engine import CouldNotLook, Found, need
from flash_doctor.system.commands import advice, command

if TYPE_CHECKING:
    from flash_doctor.facts.gpus import GpuKind

_LOST = ("NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_RESET_REQUIRED")
SMI = command("nvidia-smi --query-gpu=index,name,compute_cap --format=csv")


def visible(gpus: Gpus) -> tuple[Gpu, ...]:
    """The GPUs that CUDA sees; those of which that is not known are counted in."""
    return tuple(gpu for gpu in gpus.devices if known(gpu.visible) is not False)


def capable(gpus: Gpus) -> list[tuple[Gpu, Capability]]:
    """Visible GPUs with their compute capability; the check cannot be made when none tells it."""
    seen = visible(gpus)
    found = [(gpu, gpu.capability) for gpu in seen if isinstance(gpu.capability, Capability)]
    if seen and not found:
        raise CouldNotLook("the driver does not tell the GPUs' compute capability")  # noqa: EM101
    return found


def lost(gpus: Gpus | Absent | Unknown) -> dict[str, str]:
    """NVML's error by GPU, for those that are off the bus or must be reset and that CUDA would use."""
    seen = visible(gpus) if isinstance(gpus, Gpus) else ()
    said = {f"GPU {gpu.index}": getattr(gpu.uuid, "unknown", "") for gpu in seen}
    return {name: error for name, error in said.items() if error.startswith(_LOST)}


def line(gpu: Gpu, capability: Capability) -> str:
    return f"GPU {gpu.index}: {gpu.name}, compute capability {capability}"


@check("G301", Family.GPU)
def no_gpu(gpus: Gpus | Absent, driver: Driver | Absent, torch: Torch, host: Host) -> Iterator[Found]:
    """There is no NVIDIA GPU here, and torch is a CUDA build.

    On a login node that is as it should be: environments are made there and used elsewhere. It does mean that nothing
    can be proved here; flash-attn needs a GPU. In a container the GPUs may be hidden so well that not even the PCI bus
    shows them.

    Check by hand: `lspci | grep -i nvidia`, `nvidia-smi`.

    What to do: nothing on a login node; run `flash-doctor check` once more on the machine that trains.
    """
    if isinstance(gpus, Absent) and known(torch.cuda) is not None and host.habitat is not Habitat.WSL2:
        contained = host.habitat is Habitat.CONTAINER
        yield Found(
            severity=Severity.INFO,
            subject="GPU",
            summary="no NVIDIA GPU here: what is installed cannot be tried on this machine",
            evidence=(gpus.absent, *((driver.absent,) if isinstance(driver, Absent) else ())),
            remedy=advice(
                "If this container should have GPUs, start it with them."
                if contained
                else "Run the check again on the machine that trains.",
                command("docker run --gpus all …") if contained else command("flash-doctor check"),
            ),
        )


@check("G302", Family.GPU, host_only=True)
def hidden_by_variable(gpus: Gpus) -> Iterator[Found]:
    """CUDA_VISIBLE_DEVICES hides every GPU, or names one that is not there.

    CUDA reads this variable up to the first entry that names no GPU and ignores the rest. With a number of another
    machine, an empty value or -1, torch says `No CUDA GPUs are available` though nvidia-smi lists them. It comes from a
    shell profile, a launch script, or a scheduler's left-over.

    Check by hand: `echo "$CUDA_VISIBLE_DEVICES"`, `nvidia-smi -L`.

    What to do: unset it, or name GPUs that exist; inside a scheduler's job ask for GPUs instead.
    """
    value = known(gpus.visible_devices)
    if value is None or not gpus.devices:
        return
    for gpu in gpus.devices:
        need(gpu.visible, absent=None)
    seen = visible(gpus)
    entries = [entry for entry in value.split(",") if entry.strip()]
    lost = len(entries) - len(seen) if not value.startswith("MIG") else 0
    if not seen or lost > 0:
        yield Found(
            severity=Severity.WARNING if seen else Severity.ERROR,
            subject="CUDA_VISIBLE_DEVICES",
            summary=f"CUDA_VISIBLE_DEVICES={value} leaves {len(seen)} of {len(gpus.devices)} GPUs visible"
            + (f", though it names {len(entries)}" if lost > 0 else ""),
            evidence=(
                f"the variable is {value!r}",
                f"the driver lists {len(gpus.devices)} GPU(s), numbered from 0 ({gpus.source.value})",
            ),
            remedy=advice(
                "Unset it, or name GPUs that exist.", command("unset CUDA_VISIBLE_DEVICES"), command("nvidia-smi -L")
            ),
        )


def known_kinds(gpus: Gpus, facts: Facts) -> list[tuple[Gpu, GpuKind]]:
    found = [(gpu, facts.gpus.of(capability)) for gpu, capability in capable(gpus)]
    return [(gpu, kind) for gpu, kind in found if kind is not None]


@check("G304", Family.GPU, host_only=True)
def unknown_gpu(gpus: Gpus, facts: Facts) -> Iterator[Found]:
    """This GPU is newer than what the doctor knows.

    The doctor's table of GPUs has no row for its compute capability, so it cannot say which torch and which flash-attn
    hold code for it. New GPUs are mostly served by the newest torch first, by flash-attn's wheels months later.

    Check by hand: `nvidia-smi --query-gpu=name,compute_cap --format=csv`.

    What to do: update flash-doctor; then trust `flash-doctor verify`, which runs a kernel.
    """
    for gpu, capability in capable(gpus):
        if facts.gpus.of(capability) is None:
            yield Found(
                severity=Severity.INFO,
                subject=gpu.name,
                summary=f"{gpu.name} (compute capability {capability}) is not in the doctor's table of GPUs",
                evidence=(line(gpu, capability), f"the newest one known is {facts.gpus.newest}"),
                remedy=advice("Update flash-doctor, and prove it by a run.", command("flash-doctor verify")),
            )
            return


@check("G307", Family.GPU, host_only=True)
def mixed_gpus(gpus: Gpus, facts: Facts) -> Iterator[Found]:
    """The visible GPUs are of different kinds.

    A run over several GPUs goes at the pace of the slowest, and its batch must fit the smallest. If flash-attn runs on
    some of them only, the run ends on the others. CUDA puts the fastest GPU first, nvidia-smi goes by the PCI bus: the
    same number may mean two GPUs.

    Check by hand: `nvidia-smi -L`.

    What to do: choose equal GPUs with CUDA_VISIBLE_DEVICES, and set CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    seen = visible(gpus)
    names = sorted({gpu.name for gpu in seen})
    if len(names) < 2:
        return
    able = {gpu.index: kind.supports(FlashKind.FA2) for gpu, kind in known_kinds(gpus, facts)}
    supports = set(able.values())
    yield Found(
        severity=Severity.WARNING if len(supports) > 1 else Severity.INFO,
        subject="GPU",
        summary=f"the visible GPUs differ: {', '.join(names)}"
        + ("; flash-attn runs on some of them only" if len(supports) > 1 else ""),
        evidence=tuple(
            f"GPU {gpu.index}: {gpu.name}, {known(gpu.capability) or 'capability not told'}" for gpu in seen
        ),
        remedy=advice(
            "Choose equal GPUs for one run.",
            command("export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES={}", _equals(seen, able)),
        ),
    )


def _equals(gpus: Sequence[Gpu], able: Mapping[int, bool]) -> str:
    """The numbers of the largest group of equal GPUs, one that runs flash-attn before others."""
    groups = [[gpu.index for gpu in gpus if gpu.name == name] for name in dict.fromkeys(gpu.name for gpu in gpus)]
    return ",".join(str(index) for index in max(groups, key=lambda group: (able.get(group[0], False), len(group))))


@check("G308", Family.GPU, host_only=True)
def mig_without_instances(gpus: Gpus) -> Iterator[Found]:
    """A GPU is in MIG mode and has no instances.

    MIG cuts a GPU into slices (instances). In that mode CUDA uses slices only: a GPU with the mode on and no slice made
    cannot be used at all, though nvidia-smi lists it. torch says `No CUDA GPUs are available`.

    Check by hand: `nvidia-smi mig -lgi`.

    What to do: make instances, or switch MIG off on the host (no process may use the GPU then).
    """
    empty = [gpu for gpu in visible(gpus) if known(gpu.mig) is True and not gpu.mig_devices]
    if empty:
        rest = len(visible(gpus)) - len(empty)
        yield Found(
            severity=Severity.WARNING if rest else Severity.ERROR,
            subject=empty[0].name,
            summary=f"{len(empty)} GPU(s) in MIG mode without an instance: CUDA cannot use them",
            evidence=tuple(f"GPU {gpu.index}: {gpu.name}, MIG on, no instance" for gpu in empty),
            remedy=advice(
                "Make instances, or switch MIG off; both on the host.",
                command("sudo nvidia-smi mig -cgi 0 -C"),
                command("sudo nvidia-smi -i {} -mig 0", empty[0].index),
            ),
        )
