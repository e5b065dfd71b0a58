"""X: whether the compiled files of torch and of other packages hold code for the GPUs of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flash_doctor.abi.fatbin import GpuCode, Verdict, parse_arch
from flash_doctor.diagnose import words
from flash_doctor.diagnose.gpu import capable, line
from flash_doctor.diagnose.proof import Extensions, code_of
from flash_doctor.diagnose.registry import check
from flash_doctor.facts import Facts
from flash_doctor.model import Family, Finding, FlashKind, Gpu, Gpus, Package, Packages, Remedy, Severity
from flash_doctor.model.binaries import CudaArchs
from flash_doctor.system.commands import command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flash_doctor.model import Capability

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
        if runs is Verdict.NO and not _known_to_lack(owner, capability, facts):
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
