"""C: packages that belong to one torch, or that accept only some flash-attn or numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from packaging.version import Version

from flash_doctor.diagnose import words
from flash_doctor.diagnose.registry import check
from flash_doctor.diagnose.requires_dist import Need, first_of_each, fits, unmet
from flash_doctor.facts import Facts
from flash_doctor.model import Family, Package, Packages, Python, Severity, Torch, known
from flash_doctor.rules.engine import Found
from flash_doctor.system.commands import PLAN, advice, command, install, pip

if TYPE_CHECKING:
    from flash_doctor.facts.companions import FlashWindow


# Each has a rule of its own below, or in flash_built.py.
_OWN_RULE = ("torch", "torchvision", "torchaudio", "xformers", "flash-attn", "flash-attn-3", "flash-attn-4")


@check("C701", Family.COMPANIONS)
def pinned_to_another_torch(packages: Packages, torch: Torch, python: Python) -> Iterator[Found]:
    """An installed package asks for another torch.

    A package names in its metadata which torch it works with. Compiled ones (vllm, for instance) fail on another with
    `undefined symbol`. It comes about when a later install moves torch: pip prints an error and goes on.

    Check by hand: `pip check`.

    What to do: install the release of that package that was made for this torch, or move torch back.
    """
    for package in first_of_each(packages).values():
        need = None if package.name in _OWN_RULE else _torch_need(package, packages, torch, python)
        if need:
            exact = need.specifier.startswith("==")
            yield Found(
                severity=Severity.ERROR if exact and _compiled(package) else Severity.WARNING,
                subject=package.name,
                summary=f"{package.name} {package.raw_version} asks for {need.requirement}; this is {torch.version}",
                evidence=(need.line, f"{torch.location / 'version.py'}: {torch.version}"),
                remedy=advice(
                    "Install a release of it that accepts this torch.",
                    install(python, package.name, f"torch=={torch.version.public}"),
                ),
            )


def _compiled(package: Package) -> bool:
    return bool(package.tags) and not any(tag.endswith("-any") for tag in package.tags)


def _torch_need(package: Package, packages: Packages, torch: Torch, python: Python) -> Need | None:
    """What the package asks of torch, if the torch that is imported is something else.

    A vendor's pre-release (2.8.0a0) counts as the release that it leads to.
    """
    have = Version(torch.version.base_version) if known(torch.vendor) else torch.version
    needs = [need for need in unmet(package, {}, python) if need.name == "torch"] if _asks_torch(package) else []
    found = packages.find("torch")
    return next(
        (
            Need(package=package, name=need.name, specifier=need.specifier, found=found)
            for need in needs
            if not fits(need.specifier, have)
        ),
        None,
    )


def _asks_torch(package: Package) -> bool:
    return any(line[:5].lower() == "torch" for line in package.requires)


@check("C702", Family.COMPANIONS)
def torchvision(packages: Packages, torch: Torch, python: Python, facts: Facts) -> Iterator[Found]:
    """torchvision belongs to another torch.

    Every torchvision release is compiled for exactly one torch release. With another its import ends in `operator
    torchvision::nms does not exist`, mostly deep inside an import of transformers that does not mention it.

    Check by hand: `python -c "import torchvision"`.

    What to do: install the torchvision that belongs to this torch.
    """
    yield from _partner("torchvision", packages, torch, python, facts)


@check("C703", Family.COMPANIONS)
def torchaudio(packages: Packages, torch: Torch, python: Python, facts: Facts) -> Iterator[Found]:
    """torchaudio belongs to another torch.

    A torchaudio release is compiled for one torch release (the last ones for several). With another its import ends in
    `undefined symbol` or `Could not load this library: libtorchaudio.so`.

    Check by hand: `python -c "import torchaudio"`.

    What to do: install the torchaudio that belongs to this torch.
    """
    yield from _partner("torchaudio", packages, torch, python, facts)


@check("C704", Family.COMPANIONS)
def xformers(packages: Packages, torch: Torch, python: Python, facts: Facts) -> Iterator[Found]:
    """xformers belongs to another torch.

    An xformers release is compiled for one torch release. With another it warns `xFormers can't load C++/CUDA
    extensions` and goes on without its fast attention, or its import fails. An unpinned `pip install xformers`
    replaces torch by the one that it wants.

    Check by hand: `python -m xformers.info`.

    What to do: install the xformers that belongs to this torch, with `--no-deps`.
    """
    yield from _partner("xformers", packages, torch, python, facts)


def _partner(name: str, packages: Packages, torch: Torch, python: Python, facts: Facts) -> Iterator[Found]:
    """A finding when its metadata asks for another torch, or when the facts list it for other releases only."""
    package = packages.find(name)
    version = known(package.version) if package else None
    vendor = known(torch.vendor)
    if package is None or version is None or vendor:
        return
    need = _torch_need(package, packages, torch, python)
    right = facts.torch.partners(name, torch.version)
    made_for = facts.torch.made_for(name, version)
    evidence = [need.line] if need else []
    if made_for and right and Version(version.public) not in right:
        evidence.append(f"{name} {version.public} was made for torch {_join(made_for)}")
    if not evidence and not _another_build(version, torch):
        return
    evidence += _another_build(version, torch)
    index = words.torch_index(torch.version, known(torch.cuda), facts)
    target = f"{name}=={right[-1]}" if right else name
    yield Found(
        severity=Severity.ERROR,
        subject=name,
        summary=f"{name} {package.raw_version} does not belong to torch {torch.version}"
        + (f": {_join(right)} does" if right and Version(version.public) not in right else ""),
        evidence=(words.lies_in(package), *evidence, f"{torch.location / 'version.py'}: {torch.version}"),
        remedy=advice(
            f"Install the {name} that belongs to this torch; --no-deps keeps torch where it is.",
            install(python, target, options="--no-deps", index=index),
        ),
    )


def _another_build(version: Version, torch: Torch) -> list[str]:
    """The local labels +cu126 or +cpu of the companion against torch's CUDA."""
    cuda, label = known(torch.cuda), version.local or ""
    if label == "cpu" and cuda:
        return [f"it is a CPU build ({version}), torch is built with CUDA {cuda}"]
    if label.startswith("cu") and cuda and not label.removeprefix("cu").startswith(str(cuda.major)):
        return [f"it is built for another CUDA ({version}) than torch ({cuda})"]
    return []


def _join(versions: tuple[Version, ...]) -> str:
    return ", ".join(str(version) for version in versions[-3:])


@check("C705", Family.COMPANIONS)
def triton(packages: Packages, torch: Torch, python: Python, facts: Facts) -> Iterator[Found]:
    """triton belongs to another torch.

    `torch.compile` makes its GPU code with triton and relies on its internals: each torch names one triton release.
    With another it fails with `ImportError` or `AttributeError` from torch/_inductor, the first time something is
    compiled.

    Check by hand: `pip show torch | grep Requires`, `pip show triton`.

    What to do: install the triton that torch names.
    """
    package, owner = packages.find("triton"), packages.find("torch")
    release = facts.torch.release(torch.version)
    vendor, cuda = known(torch.vendor), known(torch.cuda)
    if package is None or owner is None or vendor or cuda is None:
        return
    own = [need for need in unmet(owner, first_of_each(packages), python) if need.name == "triton"]
    listed = release and not any("triton" in line for line in owner.requires)
    pin = own[0].specifier if own else release.triton.specifier if release and listed else ""
    if pin and not fits(pin, package.version):
        yield Found(
            severity=Severity.WARNING,
            subject="triton",
            summary=f"triton {package.raw_version} does not belong to torch {torch.version}, which wants triton{pin}",
            evidence=(words.lies_in(package), *(need.line for need in own)),
            remedy=advice("Install the triton that torch names.", install(python, f"triton{pin}")),
        )


@check("C706", Family.COMPANIONS)
def torchao(packages: Packages, torch: Torch, facts: Facts, python: Python) -> Iterator[Found]:
    """torchao's compiled part was made for another torch.

    torchao does not say in its metadata which torch it belongs to. With another its compiled part is left out with a
    warning, or aborts Python at the import without naming torchao.

    Check by hand: `python -c "import torchao"`.

    What to do: install the torchao release made for this torch.
    """
    package = packages.find("torchao")
    version = known(package.version) if package else None
    minors = facts.companions.torch_for_torchao(version) if version else ()
    if package and minors and torch.version.release[:2] not in [minor.release[:2] for minor in minors]:
        here = torch.version.release[:2]
        right = [
            str(ao) for ao, torches in facts.companions.torchao.items() if any(t.release[:2] == here for t in torches)
        ]
        yield Found(
            severity=Severity.WARNING,
            subject="torchao",
            summary=f"torchao {package.raw_version} was made for torch {_join(minors)}, this is {torch.version}",
            evidence=(words.lies_in(package), f"{torch.location / 'version.py'}: {torch.version}"),
            remedy=advice(
                "Install the torchao made for this torch.",
                *((install(python, f"torchao=={right[-1]}.*"),) if right else ()),
            ),
        )


@check("C707", Family.COMPANIONS)
def flash_window(packages: Packages, variables: Mapping[str, str], facts: Facts, python: Python) -> Iterator[Found]:
    """A package does not accept this version of flash-attn.

    xformers and Transformer Engine hold a fixed range of flash-attn versions that they were tested with. xformers
    stops at the import with `Requires Flash-Attention version >=…,<=… but got …`, and whoever imported xformers
    (diffusers, for instance) gets the blame; others quietly use a slower attention.

    Check by hand: `python -c "import xformers.ops"`.

    What to do: take a flash-attn in the named range, or a newer release of that package.
    """
    flash = packages.find("flash-attn")
    version = known(flash.version) if flash else None
    for name in sorted({row.package for row in facts.companions.flash_windows}):
        package = packages.find(name)
        found = known(package.version) if package else None
        window = facts.companions.flash_window(name, found) if found else None
        if flash and package and version and window and not _admitted(window, version, variables):
            yield _outside(window, package, flash, python, packages.find("torch"))


def _admitted(window: FlashWindow, version: Version, variables: Mapping[str, str]) -> bool:
    name, _, value = window.bypass.partition("=")
    return window.admits(version) or (bool(name) and variables.get(name) == value)


def _outside(window: FlashWindow, package: Package, flash: Package, python: Python, torch: Package | None) -> Found:
    keep = (f"torch=={torch.raw_version}",) if torch else ()  # or pip would bring the newest torch along
    accepted = f"flash-attn>={window.first},<{window.below}"
    return Found(
        severity=Severity.ERROR if window.fatal else Severity.WARNING,
        subject=package.name,
        summary=f"{package.name} {package.raw_version} does not accept flash-attn {flash.raw_version}"
        + (": its import fails" if window.fatal else ": it falls back to a slower attention"),
        evidence=(f"it accepts {accepted} ({window.source})", words.lies_in(package), words.lies_in(flash)),
        remedy=advice(
            "Take a flash-attn in that range, or a newer release of the package"
            + (f"; {window.bypass} switches the test off at your own risk." if window.bypass else "."),
            PLAN,
            install(python, f"{package.name}>{package.raw_version.partition('+')[0]}", *keep),
        ),
    )


@check("C708", Family.COMPANIONS)
def numpy_generation(packages: Packages, torch: Torch, facts: Facts, python: Python) -> Iterator[Found]:
    """This torch cannot speak with numpy 2.

    torch up to a certain release was compiled for numpy 1. With numpy 2 it prints `A module that was compiled using
    NumPy 1.x cannot be run in NumPy 2`, and `torch.from_numpy` and data loaders end in `RuntimeError: Numpy is not
    available`.

    Check by hand: `python -c "import torch; torch.ones(1).numpy()"`.

    What to do: install a numpy below 2, or a newer torch.
    """
    numpy = packages.find("numpy")
    version = known(numpy.version) if numpy else None
    if numpy and version and version.major >= 2 and not facts.torch.speaks_numpy2(torch.version):
        yield Found(
            severity=Severity.ERROR,
            subject="numpy",
            summary=f"torch {torch.version} was compiled for numpy 1, but numpy {version} is installed",
            evidence=(words.lies_in(numpy), f"the first torch for numpy 2 is {facts.torch.numpy2_from}"),
            remedy=advice("Install a numpy below 2.", install(python, "numpy<2")),
        )


@check("C709", Family.COMPANIONS)
def bitsandbytes(
    packages: Packages, torch: Torch, variables: Mapping[str, str], facts: Facts, python: Python
) -> Iterator[Found]:
    """bitsandbytes has no library for this torch's CUDA.

    bitsandbytes brings one compiled library for each CUDA version and takes the one that torch was built with, or the
    one that the variable BNB_CUDA_VERSION names. Without it 8-bit optimizers and 4-bit loading (QLoRA) end in `CUDA
    Setup failed` or `libbitsandbytes_cuda….so not found`.

    Check by hand: `python -m bitsandbytes`.

    What to do: install a bitsandbytes that brings the library; unset BNB_CUDA_VERSION.
    """
    package, cuda = packages.find("bitsandbytes"), known(torch.cuda)
    version = known(package.version) if package else None
    if package is None or version is None or cuda is None:
        return
    row = facts.quirks.bitsandbytes_libraries(version)
    forced = variables.get("BNB_CUDA_VERSION", "")
    evidence = []
    if forced and forced != f"{cuda.major}{cuda.minor}":
        evidence.append(f"BNB_CUDA_VERSION={forced}, this torch is built with CUDA {cuda}")
    if row and not forced and not row.serves(cuda):
        has = ", ".join(str(known_cuda) for known_cuda in row.cuda[-4:])
        evidence.append(f"it brings libraries for CUDA … {has}; torch is built with {cuda} ({row.source})")
    if package.location.suffix == ".egg":
        evidence.append(f"{package.location} was made by setup.py: its compiled library is not part of the package")
    if evidence:
        yield Found(
            severity=Severity.WARNING,
            subject="bitsandbytes",
            summary=f"bitsandbytes {package.raw_version} does not use a library for this torch's CUDA {cuda}",
            evidence=(words.lies_in(package), *evidence),
            remedy=advice(
                "Install a release that brings the library, and leave the choice to it.",
                command("unset BNB_CUDA_VERSION"),
                pip(python, "install --upgrade bitsandbytes"),
            ),
        )
