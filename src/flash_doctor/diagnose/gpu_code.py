"""G: whether torch and flash-attn hold code for the GPUs of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.abi.fatbin import GpuCode, Runnable, parse_arch
from flash_doctor.diagnose import words
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
    Gpu,
    Gpus,
    Host,
    Package,
    Packages,
    Remedy,
    Severity,
    Torch,
    Unknown,
    known,
)
from flash_doctor.model.binaries import CudaArchs
from flash_doctor.system.commands import advice, command

if TYPE_CHECKING:
    from collections.abc import Iterable


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


_TORCH = "torch"
_FLASH = {"flash-attn": FlashKind.FA2, "flash-attn-3": FlashKind.FA3, "flashattn-hopper": FlashKind.FA3}


@check("X106", Family.EXTENSIONS)
def no_code_for_gpu(extensions: Extensions, gpus: Gpus, packages: Packages, facts: Facts) -> Iterator[Finding]:
    """A compiled package holds no code for this GPU.

    GPUs of different generations run different machine code. A compiled package holds code for those that its builder
    chose, and sometimes PTX, which the driver translates for newer GPUs. On a GPU for which there is neither, the first
    kernel ends in `no kernel image is available for execution on the device`. This check reads the compiled files
    themselves: torch's own, flash-attn's, and those of every other package.

    Check by hand: `cuobjdump --list-elf FILE` lists sm_80, sm_90, …; `flash-doctor abi PACKAGE` does, too.

    What to do: a newer GPU needs a newer build; a GPU that newer builds have dropped needs an older one.
    """
    owners = list(dict.fromkeys(extension.owner for extension in extensions if extension.owner))
    # without code in torch nothing else runs: it alone is told then
    for owner in sorted(owners, key=lambda name: name != _TORCH):
        found = _without_code(owner, code_of(owner, extensions), gpus, facts)
        if found:
            yield _finding(owner, packages.find(owner), *found, extensions)
        if found and owner == _TORCH:
            return


def _without_code(
    owner: str, parts: Iterable[CudaArchs], gpus: Gpus, facts: Facts
) -> tuple[Gpu, Capability, GpuCode] | None:
    """The first GPU that none of the package's code runs on."""
    parts = tuple(parts)
    code = GpuCode(
        sass=tuple(sorted({parse_arch(text) for part in parts for text in part.sass}, key=lambda arch: arch.sort_key)),
        ptx=tuple(sorted({parse_arch(text) for part in parts for text in part.ptx}, key=lambda arch: arch.sort_key)),
    )
    tegra = {capability for capability, kind in facts.gpus.kinds.items() if kind.own_code}
    for gpu, capability in capable(gpus) if parts else ():
        runs = code.runs_on(capability, tegra).verdict
        if runs is Runnable.NO and not _known_to_lack(owner, capability, facts):
            return gpu, capability, code
    return None


def _known_to_lack(owner: str, capability: Capability, facts: Facts) -> bool:
    """A generation of FlashAttention that never ran on such a GPU: G303 and F610 tell that."""
    kind, gpu = _FLASH.get(owner), facts.gpus.of(capability)
    return kind is not None and gpu is not None and not gpu.supports(kind)


def _finding(
    owner: str, package: Package | None, gpu: Gpu, capability: Capability, code: GpuCode, extensions: Extensions
) -> Finding:
    older = bool(code.sass) and capability < min(arch.capability for arch in code.sass)
    name = f"{owner} {package.raw_version}" if package else owner
    holding = (extension for extension in extensions if extension.owner == owner)
    paths = [str(extension.path) for extension in holding if isinstance(extension.cuda_archs, CudaArchs)]
    return Finding(
        code="X106",
        severity=Severity.ERROR if owner == _TORCH or owner in _FLASH else Severity.WARNING,
        subject=owner,
        summary=f"{name} has no code for {gpu.name}: "
        + ("this build has dropped the GPU" if older else "the GPU is newer than this build"),
        evidence=(
            line(gpu, capability),
            f"its compiled files hold {code} (compute capabilities)",
            *words.listing(paths, 3),
            *(words.came_from(package) if package else ()),
        ),
        remedy=_remedy(owner),
    )


def _remedy(owner: str) -> Remedy:
    if owner == _TORCH:
        text = "Install a torch build with code for this GPU, and the flash-attn made for it."
        return words.fix(text, command("flash-doctor plan --allow torch"), allow=("torch",))
    if owner in _FLASH:
        return words.fix("Install a flash-attn wheel with code for this GPU.")
    return Remedy(text="Install a build of it with code for this GPU, if your program uses it there.")
