"""G: whether torch and flash-attn hold code for the GPUs of this machine."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from flash_doctor.diagnose.gpu import SMI, capable, known_kinds, line, visible
from flash_doctor.diagnose.proof import Extensions, code_of
from flash_doctor.diagnose.registry import CouldNotLook, check
from flash_doctor.facts import Facts
from flash_doctor.model import (
    Absent,
    Capability,
    Family,
    Finding,
    FlashAttention,
    FlashKind,
    Gpus,
    Host,
    Package,
    Severity,
    Torch,
    Unknown,
    known,
)
from flash_doctor.system.commands import advice, command

# The other generations compile while they run, or have wheels of their own.
_FA2 = "flash-attn"


@check("G303", Family.GPU)
def too_old_for_flash(gpus: Gpus, flash: FlashAttention | Absent, facts: Facts) -> Iterator[Finding]:
    """FlashAttention does not run on this GPU.

    FlashAttention 2 needs a GPU of the Ampere generation or newer (compute capability 8.0: A100, RTX 30; not T4, V100,
    RTX 20, nor a "Quadro RTX 5000"). No build option changes that. The same message, `FlashAttention only supports
    Ampere GPUs or newer`, also comes from an old flash-attn on a GPU too new for it: that is another finding.

    Check by hand: `nvidia-smi --query-gpu=name,compute_cap --format=csv`.

    What to do: use PyTorch's own attention (`attn_implementation="sdpa"`) on this machine, and uninstall flash-attn
    where model code switches it on by itself.
    """
    kinds = _kinds(flash)
    lacking = [
        (gpu, kind) for gpu, kind in known_kinds(gpus, facts) if not any(kind.supports(wanted) for wanted in kinds)
    ]
    able = len(visible(gpus)) - len(lacking)
    oldest = facts.gpus.oldest_for(FlashKind.FA2)
    old = [(gpu, kind) for gpu, kind in lacking if kind.capability < oldest]
    if old and not able:
        yield Finding(
            code="G303",
            severity=Severity.ERROR,
            subject=old[0][0].name,
            summary=f"FlashAttention does not run on {old[0][0].name}: it needs compute capability {oldest} or newer",
            evidence=(
                *(line(gpu, kind.capability) for gpu, kind in old),
                *dict.fromkeys(kind.note for _, kind in old if kind.note),
                f"source: {old[0][1].source}",
            ),
            remedy=advice('On this machine use PyTorch\'s own attention: attn_implementation="sdpa".', SMI),
        )


def _kinds(flash: FlashAttention | Absent) -> set[FlashKind]:
    """The generations that are installed, else the one that people mean."""
    found = set() if isinstance(flash, Absent) else {module.kind for module in flash.modules}
    return found or {FlashKind.FA2}


@check("G305", Family.GPU)
def torch_has_no_code(
    gpus: Gpus, torch: Torch, host: Host, facts: Facts, extensions: Extensions | Absent | Unknown
) -> Iterator[Finding]:
    """torch holds no code for this GPU, by its version.

    Each build of torch holds finished code for some GPUs. On a newer GPU it warns `… with CUDA capability sm_120 is not
    compatible with the current PyTorch installation`, and the first kernel ends in `no kernel image is available for
    execution on the device`. Builds with a newer CUDA also drop old GPUs.

    Check by hand: `python -c "import torch; print(torch.cuda.get_arch_list())"`.

    What to do: install the same torch from the index of another CUDA build, or another torch; flash-attn with it.
    """
    cuda = known(torch.cuda)
    if cuda is None or not gpus.devices or code_of("torch", extensions):
        return  # X106 reads the code itself
    # a vendor's build holds other code than the one published for that version
    build = facts.torch.build(torch.version, cuda) if known(torch.vendor) is None else None
    code = build.code.get(host.machine) if build else None
    if code is None or build is None:
        message = f"for which GPUs torch {torch.version} holds code is not in the facts"
        raise CouldNotLook(message)
    for gpu, capability in capable(gpus):
        if not facts.gpus.covers(code.sass, code.ptx, capability):
            older = capability < min(code.sass)
            listed = " ".join(map(str, code.sass))
            yield Finding(
                code="G305",
                severity=Severity.ERROR,
                subject=gpu.name,
                summary=f"torch {torch.version} has no code for {gpu.name}: "
                + ("this build has dropped the GPU" if older else "the GPU is newer than this build"),
                evidence=(line(gpu, capability), f"the {build.tag} build holds {listed}: {build.source}"),
                remedy=advice(
                    "Install a torch build with code for this GPU, and the flash-attn made for it.",
                    command("flash-doctor plan --allow torch"),
                ),
            )
            return


@check("G306", Family.GPU)
def flash_has_no_code(
    gpus: Gpus, flash: FlashAttention, torch: Torch, facts: Facts, extensions: Extensions | Absent | Unknown
) -> Iterator[Finding]:
    """The installed flash-attn wheel holds no code for this GPU, by its publisher and version.

    flash-attn's wheels hold finished code only, nothing that the driver could translate for a newer GPU. On a GPU that
    came after the wheel, kernels end in `no kernel image is available`, or an old flash-attn says `only supports Ampere
    GPUs or newer` about a GPU that is much newer. The wheel is known by the address it was installed from.

    Check by hand: `cuobjdump --list-elf flash_attn_2_cuda*.so` lists sm_80, sm_90, …

    What to do: install a wheel that holds code for it (official ones for Blackwell since 2.8.0.post2).
    """
    for package in flash.packages if gpus.devices else ():
        if package.name != _FA2 or code_of(package.name, extensions):
            continue  # X106 reads the code itself
        sass = _published_code(package, torch, facts)
        for gpu, capability in capable(gpus):
            if not facts.gpus.covers(sass, (), capability) and capability > min(sass):
                yield Finding(
                    code="G306",
                    severity=Severity.ERROR,
                    subject=package.name,
                    summary=f"this wheel of {package.name} {package.raw_version} has no code for {gpu.name}",
                    evidence=(
                        line(gpu, capability),
                        f"wheels of that version hold {' '.join(map(str, sass))}",
                        f"installed from {known(package.url)}",
                    ),
                    remedy=advice(
                        "Install a flash-attn wheel with code for this GPU.",
                        command("flash-doctor plan"),
                        command("flash-doctor fix"),
                    ),
                )
                return


def _published_code(package: Package, torch: Torch, facts: Facts) -> tuple[Capability, ...]:
    """The GPU code of the wheel, by its publisher; raises CouldNotLook where that is not known."""
    publisher = facts.publishers.publisher_of(known(package.url) or "")
    version = known(package.version)
    cuda = known(torch.cuda) or Version("0")
    sass = facts.gpus.flash_sass(publisher.name, version, cuda) if publisher and version else None
    if sass is None:
        message = f"for which GPUs {package.name} {package.raw_version} holds code is not told by where it came from"
        raise CouldNotLook(message)
    return sass
