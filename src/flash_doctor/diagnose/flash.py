"""F: flash-attn in all its shapes: is it there, whole, the one that is imported, and made for this Python?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flash_doctor.diagnose import words
from flash_doctor.diagnose.registry import check
from flash_doctor.diagnose.shadows import evidence, remedy, shadows
from flash_doctor.diagnose.tags import misfit
from flash_doctor.facts import Facts
from flash_doctor.model import (
    Absent,
    Family,
    FlashAttention,
    FlashKind,
    FlashModule,
    Gpu,
    Gpus,
    Package,
    Packages,
    Python,
    Remedy,
    Severity,
    Torch,
    known,
)
from flash_doctor.rules.engine import Found, need
from flash_doctor.system.commands import FIX, PLAN, delete, uninstall

if TYPE_CHECKING:
    from pathlib import Path

FLASH_ATTN = "flash-attn"
# The two that share the module name flash_attn and the distribution name flash-attn.
_CLASSIC = (FlashKind.FA1, FlashKind.FA2)
_PRODUCT = {"flash-attn-3": FlashKind.FA3, "flashattn-hopper": FlashKind.FA3, "flash-attn-4": FlashKind.FA4}
_PYTHON_IN_NAME = re.compile(r"\.cpython-(\d+t?)-")


@check("F601", Family.FLASH)
def flash_absent(flash: FlashAttention | Absent, torch: Torch, gpus: Gpus, facts: Facts) -> Iterator[Found]:
    """flash-attn is not installed.

    The machine has a GPU that flash-attn runs on and a torch that can use it, but no flash-attn. Nothing is broken:
    programs that do not ask for it run, with a slower attention. Those that do ask (`flash_attention_2` in a
    configuration) stop with `the package flash_attn seems to be not installed`.

    Check by hand: `pip show flash-attn`.

    What to do: `flash-doctor plan` names the ready-made wheel for this torch, Python and GPU. Do not run
    `pip install flash-attn`: where it finds no wheel it compiles for hours.
    """
    fits = [gpu for gpu in gpus.devices if _runs(gpu, FlashKind.FA2, facts)]
    cuda = known(torch.cuda)
    if isinstance(flash, Absent) and fits and cuda:
        yield Found(
            severity=Severity.WARNING,
            subject=FLASH_ATTN,
            summary="flash-attn is not installed, though this GPU and this torch could use it",
            evidence=(
                flash.absent or "no flash-attn on the search path",
                f"GPU: {fits[0].name}; torch {torch.version}",
            ),
            remedy=words.fix("Install the wheel made for this torch, Python and GPU."),
        )


def _runs(gpu: Gpu, kind: FlashKind, facts: Facts) -> bool:
    """Whether that FlashAttention runs there; a GPU that the facts do not know is given the benefit of the doubt."""
    capability = known(gpu.capability)
    known_kind = facts.gpus.of(capability) if capability else None
    return known_kind is None or known_kind.supports(kind)


@check("F602", Family.FLASH)
def wrong_tag(flash: FlashAttention, python: Python) -> Iterator[Found]:
    """flash-attn was built for another Python or another kind of processor.

    The name of a wheel ends in what it was built for: `cp312` is Python 3.12, `x86_64` an Intel or AMD processor. A
    wheel of another kind gets in by `--force`, by copying a folder, or when the Python under a venv is replaced. Its
    compiled part is then not even looked at: `No module named 'flash_attn_2_cuda'`.

    Check by hand: the line `Tag:` in the named WHEEL file, against `python --version` and `uname -m`.

    What to do: install the wheel for this Python.
    """
    for package in flash.packages:
        why = misfit(package.tags, python)
        if why:
            yield Found(
                severity=Severity.ERROR,
                subject=package.name,
                summary=f"{package.name} {package.raw_version} does not fit this Python: {why}",
                evidence=(
                    f"{package.metadata / 'WHEEL'}: Tag: {package.tags[0]}",
                    f"{python.executable}: {python.abi}",
                ),
                about=(str(package.metadata),),
                remedy=words.fix("Install the wheel made for this Python."),
            )


@check("F603", Family.FLASH)
def extension_missing(flash: FlashAttention, python: Python, torch: Torch) -> Iterator[Found]:
    """The compiled part of flash-attn is missing.

    flash-attn is a folder of Python files and one compiled file, `flash_attn_2_cuda…so`, which does the work.
    Without it `import flash_attn` ends in `No module named 'flash_attn_2_cuda'`. It was not built (a build that was
    cut off, or one with FLASH_ATTENTION_SKIP_CUDA_BUILD set), or is there for another Python only.

    Check by hand: `ls SITE-PACKAGES/flash_attn_2_cuda*`.

    What to do: install the whole wheel again.
    """
    package = next((package for package in flash.packages if package.name == FLASH_ATTN), None)
    hip = known(torch.hip)
    if package is None or hip or not _modules(flash, *_CLASSIC):
        return
    files = [path for path in flash.extensions if path.name.startswith(("flash_attn_2_cuda", "flash_attn_cuda"))]
    if any(_loadable(path, python) for path in files):
        return
    yield Found(
        severity=Severity.ERROR,
        subject=FLASH_ATTN,
        summary="the compiled part of flash-attn is "
        + ("there for another Python only" if files else "missing: it cannot be imported"),
        evidence=(
            words.lies_in(package),
            *(f"{path} is for another Python than {python.abi}" for path in files),
            *(() if files else (f"no flash_attn_2_cuda*.so in {package.location}",)),
        ),
        about=(str(package.metadata),),
        remedy=words.fix("Install the whole wheel again."),
    )


def _loadable(extension: Path, python: Python) -> bool:
    match = _PYTHON_IN_NAME.search(extension.name)
    return match is None or not words.is_cpython(python) or f"cp{match[1]}" == python.abi


def _modules(flash: FlashAttention, *kinds: FlashKind) -> list[FlashModule]:
    return [module for module in flash.modules if module.kind in kinds]


@check("F604", Family.FLASH)
def metadata_without_module(flash: FlashAttention, python: Python) -> Iterator[Found]:
    """pip says that flash-attn is installed, but its files are gone.

    The folder with its metadata is there, the module is not: an uninstall or upgrade was cut off, or another package
    that shares the folder `flash_attn` (flash-attn-4) was removed. Programs see `flash-attn` in `pip list`, take it
    for installed and then fail at the import.

    Check by hand: `pip show -f flash-attn` lists files that do not exist.

    What to do: remove the metadata and install the wheel again.
    """
    for package in flash.packages:
        kinds = (_PRODUCT[package.name],) if package.name in _PRODUCT else _CLASSIC
        if not package.editable and not _modules(flash, *kinds):
            yield Found(
                severity=Severity.ERROR,
                subject=package.name,
                summary=f"{package.name} {package.raw_version} is recorded as installed, but its module is not there",
                evidence=(words.lies_in(package), f"no such module in {package.location}"),
                remedy=words.fix(
                    "Remove the record and install the wheel again.",
                    uninstall(python, package.name),
                    PLAN,
                ),
            )


@check("F605", Family.FLASH)
def module_without_metadata(flash: FlashAttention) -> Iterator[Found]:
    """flash_attn can be imported, but pip does not know of it.

    The folder `flash_attn` lies in site-packages without metadata: it was copied there, or the metadata was deleted.
    transformers and others ask for the version of the installed package before they use it, and answer `No package
    metadata was found for flash_attn` or `flash_attn seems to be not installed`.

    Check by hand: `pip show flash-attn` finds nothing; `python -c "import flash_attn; print(flash_attn.__file__)"`
    does.

    What to do: delete the folder and install the wheel.
    """
    modules = [module for module in _modules(flash, *_CLASSIC) if module.in_site_packages]
    if modules and not any(package.name == FLASH_ATTN for package in flash.packages):
        yield Found(
            severity=Severity.WARNING,
            subject=FLASH_ATTN,
            summary="the folder flash_attn is there, but no metadata: programs that ask for its version refuse it",
            evidence=(f"{modules[0].path} exists", f"no flash_attn-*.dist-info in {modules[0].path.parent}"),
            remedy=words.fix("Delete the folder, then install the wheel.", delete(modules[0].path), FIX),
        )


@check("F606", Family.FLASH)
def shadowed(flash: FlashAttention, python: Python, packages: Packages) -> Iterator[Found]:
    """A folder or file of the same name hides the installed flash-attn.

    Python takes the first `flash_attn` on its path, and the folder of the script (with `python -c` and `python -m` the
    current folder) and PYTHONPATH come before site-packages. A checkout of the flash-attention repository, or a script
    named `flash_attn.py`, is then imported instead of the installed package, and has no compiled part: `No module
    named 'flash_attn_2_cuda'`, with a path outside of site-packages in the traceback. The doctor knows the folder in
    which it was started and PYTHONPATH, not the folder of your script: start it where you start training.

    Check by hand: `python -c "import flash_attn; print(flash_attn.__file__)"`, in the folder where you start training.

    What to do: start from another folder, or rename that one.
    """
    hiding = shadows(python, packages, ("flash_attn",))
    modules = [module for module in flash.modules if module.name == "flash_attn"]
    editable = any(package.editable for package in flash.packages)
    if hiding and not editable:
        yield _hidden(hiding[0].path, evidence(hiding[0]), Severity.ERROR, remedy(hiding[0]))
    elif modules and not modules[0].in_site_packages and not editable:
        hidden = [module.path for module in modules if module.in_site_packages]
        told = (f"{modules[0].path} comes first on the search path", *(f"it hides {path}" for path in hidden))
        away = Remedy(text="Start from another folder, or take that one off the path (PYTHONPATH).")
        yield _hidden(modules[0].path, told, Severity.ERROR if hidden else Severity.WARNING, away)


def _hidden(path: Path, evidence: tuple[str, ...], severity: Severity, remedy: Remedy) -> Found:
    return Found(
        severity=severity,
        subject=FLASH_ATTN,
        summary=f"Python imports flash_attn from {path}, which is not an installed package",
        evidence=evidence,
        remedy=remedy,
    )


@check("F607", Family.FLASH)
def two_copies(flash: FlashAttention, packages: Packages, python: Python) -> Iterator[Found]:
    """flash-attn is installed twice.

    One copy lies in this environment, another in ~/.local, in conda's folder or in the image's system folder. The
    first on the path is imported, whichever was installed last: a reinstall changes nothing when it writes to the
    other one.

    Check by hand: `python -c "import flash_attn; print(flash_attn.__file__)"`, and look for the named folders.

    What to do: uninstall until pip says it is not installed; in an NVIDIA image keep the image's copy.
    """
    for name in sorted({package.name for package in flash.packages}):
        copies = packages.copies(name)
        if len(copies) > 1:
            versions = ", ".join(package.raw_version for package in copies)
            yield Found(
                severity=Severity.ERROR if len({copy.raw_version for copy in copies}) > 1 else Severity.WARNING,
                subject=name,
                summary=f"{name} is installed {len(copies)} times ({versions}); the first is imported",
                evidence=tuple(words.lies_in(package) for package in copies),
                remedy=words.fix("Uninstall until none is left.", uninstall(python, name), FIX),
            )


@check("F608", Family.FLASH)
def files_missing(flash: FlashAttention) -> Iterator[Found]:
    """Files of flash-attn are missing or cut off.

    The file RECORD beside flash-attn's metadata lists what was installed. Some of it is gone or has another size. The
    folder `flash_attn` is shared by flash-attn 2 and flash-attn-4: removing or upgrading one can take files from the
    other.

    Check by hand: look for the named files.

    What to do: install the wheel again.
    """
    for package in flash.packages:
        if package.editable or isinstance(package.record, Absent):
            continue
        record = need(package.record)
        missing = [path for path in record.missing if not path.startswith("flash_attn_2_cuda")]  # F603 tells of that
        lost = [f"missing: {package.location / path}" for path in missing]
        lost += [f"changed: {package.location / path}" for path in record.changed]
        if lost and _modules(flash, *FlashKind):
            yield _damaged(package, lost, [str(package.location / path) for path in record.changed])


def _damaged(package: Package, lost: list[str], changed: list[str]) -> Found:
    return Found(
        severity=Severity.ERROR,
        subject=package.name,
        summary=f"{package.name} {package.raw_version} is damaged; missing or changed files: {len(lost)}",
        evidence=(words.lies_in(package), *words.listing(lost)),
        about=tuple(changed),
        remedy=words.fix("Install the wheel again."),
    )
