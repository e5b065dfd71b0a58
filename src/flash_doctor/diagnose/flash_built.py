"""F: which FlashAttention this is, and for which torch it was built, as far as names tell.

The exact proof is in the binary's symbols; a name is a hint, and is called one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.version import Version

from flash_doctor.diagnose import words
from flash_doctor.diagnose.proof import Extensions, files_of
from flash_doctor.diagnose.registry import check
from flash_doctor.diagnose.requires_dist import first_of_each, fits, unmet
from flash_doctor.facts import Facts
from flash_doctor.model import (
    Absent,
    Family,
    FlashAttention,
    FlashKind,
    Gpus,
    IndexSetting,
    Package,
    Packages,
    Python,
    Remedy,
    Severity,
    Torch,
    Unknown,
    known,
)
from flash_doctor.rules.engine import Found
from flash_doctor.system.commands import PLAN, advice

_PRODUCT = {"flash-attn-3": FlashKind.FA3, "flashattn-hopper": FlashKind.FA3, "flash-attn-4": FlashKind.FA4}
# As publishers write it into file names: cu12torch2.8cxx11abiTRUE, cu128torch2.8, cu130torch2.10.
_LABEL = re.compile(r"(?:cu(?P<cuda>\d+))?torch(?P<torch>\d+\.\d+)[\d.]*(?:cxx11abi(?P<abi>TRUE|FALSE))?")


@check("F609", Family.FLASH)
def another_generation(flash: FlashAttention) -> Iterator[Found]:
    """Another generation of FlashAttention is installed than `import flash_attn` means.

    Three products share the name. `flash-attn` is FlashAttention 2: `from flash_attn import flash_attn_func`, and
    `flash_attention_2` in transformers. `flash-attn-3` (for Hopper GPUs) is `import flash_attn_interface` and
    `flash_attention_3`. `flash-attn-4` only brings `flash_attn.cute`: `import flash_attn` then works, but is an empty
    folder with nothing in it, and fails with `cannot import name 'flash_attn_func'`.

    Check by hand: `pip list | grep -i flash`.

    What to do: if a program asks for flash_attn or `flash_attention_2`, install flash-attn beside it.
    """
    kinds = {module.kind for module in flash.modules}
    if not kinds or kinds & {FlashKind.FA1, FlashKind.FA2} or any(p.name == "flash-attn" for p in flash.packages):
        return
    empty = FlashKind.FA4 in kinds
    names = ", ".join(sorted(kind.value for kind in kinds))
    yield Found(
        severity=Severity.WARNING if empty else Severity.INFO,
        subject="flash-attn",
        summary=f"only {names} is installed: "
        + (
            "`import flash_attn` finds an empty folder"
            if empty
            else "programs that want flash_attn (2) will not find it"
        ),
        evidence=tuple(f"{module.name} ({module.kind.value}) lies in {module.path}" for module in flash.modules),
        remedy=words.fix("Install flash-attn (FlashAttention 2) beside it, if your programs ask for it."),
    )


@check("F610", Family.FLASH)
def generation_and_gpu(flash: FlashAttention, gpus: Gpus, facts: Facts) -> Iterator[Found]:
    """This generation of FlashAttention does not run on this GPU.

    FlashAttention 3 holds code for some GPUs only (it is made for Hopper: H100, H200). On a Blackwell GPU it fails
    with `no kernel image is available` or `invalid argument`. A newer number is not a better one for every GPU.

    Check by hand: `nvidia-smi --query-gpu=name,compute_cap --format=csv`.

    What to do: use flash-attn (FlashAttention 2), or flash-attn-4 on Blackwell; ask for `flash_attention_2`.
    """
    for package in flash.packages:
        kind = _PRODUCT.get(package.name)
        for gpu in gpus.devices:
            capability = known(gpu.capability)
            gpu_kind = facts.gpus.of(capability) if capability else None
            if kind and gpu_kind and not gpu_kind.supports(kind):
                yield Found(
                    severity=Severity.WARNING,
                    subject=package.name,
                    summary=f"{package.name} {package.raw_version} ({kind.value}) does not run on {gpu.name}",
                    evidence=(words.lies_in(package), f"GPU {gpu.index}: {gpu.name}, compute capability {capability}"),
                    remedy=Remedy(text="Use FlashAttention 2 on this GPU (package flash-attn)."),
                )
                break


# The C++ ABI in words: what the flag _GLIBCXX_USE_CXX11_ABI of a build changes is how std::string lies in memory.
_ABI = {False: "old (cxx11abiFALSE)", True: "new (cxx11abiTRUE)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a wheel's name says of its build; None where it says nothing. `said` is the place and the words."""

    torch: Version
    cuda: str | None
    cxx11abi: bool | None
    said: str


def label(package: Package) -> Label | None:
    """Read from the address it was installed from, else from its version's local part."""
    url = known(package.url)
    sources = (
        []
        if url is None
        else [(url.rpartition("/")[2].replace("%2B", "+"), f"{package.metadata / 'direct_url.json'}: ")]
    )
    sources.append((package.raw_version.partition("+")[2], f"{package.metadata / 'METADATA'}: version "))
    for text, place in sources:
        match = _LABEL.search(text)
        if match:
            abi = None if match["abi"] is None else match["abi"] == "TRUE"
            return Label(torch=Version(match["torch"]), cuda=match["cuda"], cxx11abi=abi, said=place + text)
    return None


@check("F611", Family.FLASH)
def named_for_another_torch(
    flash: FlashAttention,
    torch: Torch,
    packages: Packages,
    python: Python,
    extensions: Extensions | Absent | Unknown,
) -> Iterator[Found]:
    """flash-attn was made for another torch.

    A compiled flash-attn belongs to one torch release, one CUDA major version and one of two forms in which C++ keeps
    text in memory (the C++ ABI: `cxx11abiTRUE` or `cxx11abiFALSE` in the names of wheels). When torch moved underneath
    it, or the wrong wheel was taken, its import ends in `undefined symbol: _ZN3c10…`. This check reads what the wheel's
    name or metadata says, where the compiled file itself could not be read. A neighbouring release may still work: only
    running it proves that.

    Check by hand: `python -c "import torch, flash_attn_2_cuda"`.

    What to do: install the wheel made for this torch. Do not reinstall with pip: its cache serves the same file again.
    """
    installed = first_of_each(packages)
    for package in flash.packages:
        named = label(package)
        asks = [need for need in unmet(package, installed, python) if need.name == "torch"]
        pins = [need.line for need in asks if not fits(need.specifier, torch.version)]
        proved = files_of(package.name, extensions)
        faults = (*(_faults(named, torch) if named and not proved else ()), *pins)
        if faults and known(torch.vendor) is None:
            grave = not proved and (pins or (named and (_abi_differs(named, torch) or _cuda_differs(named, torch))))
            yield Found(
                severity=Severity.ERROR if grave else Severity.WARNING,
                subject=package.name,
                summary=f"{package.name} {package.raw_version} was made for another torch than {torch.version}",
                evidence=(*faults, f"{torch.location / 'version.py'}: {torch.version}"),
                about=tuple(file.path for file in proved if not file.loads),
                remedy=words.fix("Install the wheel made for this torch."),
            )


def _faults(named: Label, torch: Torch) -> Iterator[str]:
    if named.torch.release[:2] != torch.version.release[:2]:
        yield f"its name says torch {named.torch} ({named.said})"
    if _cuda_differs(named, torch):
        yield f"its name says CUDA {named.cuda}, this torch is built with CUDA {known(torch.cuda)} ({named.said})"
    if _abi_differs(named, torch):
        name, here = _ABI[named.cxx11abi is True], _ABI[torch.cxx11abi is True]
        yield f"its name says that it keeps text in C++'s {name} form, this torch keeps it in the {here} ({named.said})"


def _cuda_differs(named: Label, torch: Torch) -> bool:
    cuda = known(torch.cuda)
    return bool(named.cuda and cuda) and not str(named.cuda).startswith(str(cuda.major if cuda else ""))


def _abi_differs(named: Label, torch: Torch) -> bool:
    abi = known(torch.cxx11abi)
    return None not in (named.cxx11abi, abi) and named.cxx11abi != abi


@check("F612", Family.FLASH)
def mislabelled(
    flash: FlashAttention, torch: Torch, facts: Facts, extensions: Extensions | Absent | Unknown
) -> Iterator[Found]:
    """This flash-attn wheel is known to be something else than its name says.

    A wheel's name says in which of two forms its compiled code keeps C++ text (`cxx11abiTRUE`, `cxx11abiFALSE`: the C++
    ABI); it must be torch's form. Some official wheels named FALSE hold a binary of the other form; others were built
    against a development version of the torch that they name. Their name fits this torch, and their import may still
    end in `undefined symbol: _ZN3c10…`. No reinstall of the same file can help.

    Check by hand: `python -c "import torch, flash_attn_2_cuda"`.

    What to do: `flash-doctor plan` knows the true ABI and names another wheel.
    """
    for package in flash.packages:
        named, version = label(package), known(package.version)
        if named is None or version is None or files_of(package.name, extensions):
            continue
        row = facts.quirks.faulty_wheel(words.address(package), version, named.torch, named.cxx11abi)
        if row and not [*_faults(named, torch)]:
            yield Found(
                severity=Severity.ERROR if row.certain else Severity.WARNING,
                subject=package.name,
                summary=f"this wheel of {package.name} {package.raw_version} is not what its name says: {row.why}",
                evidence=(named.said, f"torch {torch.version}{_form(torch)}", f"source: {row.source}"),
                remedy=words.fix("Install another wheel; the plan knows which one is what it says."),
            )


def _form(torch: Torch) -> str:
    abi = known(torch.cxx11abi)
    return "" if abi is None else f" keeps C++ text in the {_ABI[abi]} form"


@check("F613", Family.FLASH)
def unknown_index(indexes: tuple[IndexSetting, ...], facts: Facts) -> Iterator[Found]:
    """A package index for flash-attn is configured that nobody known stands behind.

    pip and uv take packages from every index in their configuration, and code of a package runs when it is
    installed. A copied install script names an index for flash-attn that appears in none of the project's own
    documentation.

    Check by hand: look at the named file or variable.

    What to do: remove the address; `flash-doctor plan` takes wheels from known publishers, with their hashes.
    """
    for setting in indexes:
        forbidden = facts.publishers.forbidden(setting.url)
        names_flash = "flash" in setting.url.casefold()
        if forbidden or (names_flash and facts.publishers.publisher_of(setting.url) is None):
            yield Found(
                severity=Severity.WARNING,
                subject="package index",
                summary=f"{setting.url} is no known publisher of flash-attn",
                evidence=(
                    f"configured in {setting.origin}",
                    *((f"{forbidden.why} ({forbidden.source.what})",) if forbidden else ()),
                ),
                remedy=advice("Remove this address from the configuration.", PLAN),
            )
