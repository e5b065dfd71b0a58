"""T: does this torch fit this Python, this machine's GPUs and the packages it needs?"""

from __future__ import annotations

from collections.abc import Iterator

from flash_doctor.diagnose import words
from flash_doctor.diagnose.needs import first_of_each, unmet, unmet_of_extras
from flash_doctor.diagnose.registry import check
from flash_doctor.diagnose.tags import misfit
from flash_doctor.facts import Facts
from flash_doctor.model import Family, Finding, Gpus, Packages, Python, Severity, Torch, known
from flash_doctor.system.commands import advice, install


@check("T507", Family.TORCH)
def torch_for_another_python(packages: Packages, torch: Torch, python: Python) -> Iterator[Finding]:
    """torch was built for another Python.

    torch's compiled part is made for one Python version. It does not load in another: a folder copied between
    environments, a PYTHONPATH of another Python, or a venv whose Python was replaced by the system's upgrade.

    Check by hand: the line `Tag:` in the named WHEEL file, against `python --version`.

    What to do: install torch anew in this environment.
    """
    package = packages.find("torch")
    why = misfit(package.tags, python) if package else None
    if package and why:
        yield Finding(
            code="T507",
            severity=Severity.ERROR,
            subject="torch",
            summary=f"torch {torch.version} does not fit this Python: {why}",
            evidence=(f"{package.metadata / 'WHEEL'}: Tag: {package.tags[0]}", f"{python.executable}: {python.abi}"),
            remedy=words.fix("Install torch anew in this environment.", allow=("torch",)),
        )


@check("T508", Family.TORCH)
def python_not_supported(torch: Torch, python: Python, facts: Facts) -> Iterator[Finding]:
    """This torch release was never made for this Python.

    Each torch release publishes wheels for certain Python versions. Outside of them torch was built by hand or comes
    from another project, and flash-attn has no wheel for the pair either.

    Check by hand: `pip download --no-deps torch==VERSION` finds nothing for this Python.

    What to do: use one of the Python versions that the finding names.
    """
    release = facts.torch.release(torch.version) if words.is_cpython(python) else None
    if release and python.abi not in release.pythons and known(torch.vendor) is None:
        yield Finding(
            code="T508",
            severity=Severity.WARNING,
            subject="torch",
            summary=f"torch {torch.version.public} was never published for this Python ({python.abi})",
            evidence=(
                f"{python.executable} is {python.implementation} {python.version}",
                f"it was published for {', '.join(release.pythons)} ({release.source})",
            ),
            remedy=words.fix(
                "Move to a Python that this torch is published for, or to a newer torch.", allow=("torch",)
            ),
        )


@check("T509", Family.TORCH)
def rocm_build(torch: Torch, gpus: Gpus) -> Iterator[Finding]:
    """torch is a build for AMD GPUs on a machine with NVIDIA GPUs.

    A ROCm build of torch (`+rocm…`) cannot use an NVIDIA GPU, nor can flash-attn's CUDA wheels be used with it.

    Check by hand: `python -c "import torch; print(torch.version.hip)"`.

    What to do: install a CUDA build of torch in its place.
    """
    hip = known(torch.hip)
    if gpus.devices and hip:
        yield Finding(
            code="T509",
            severity=Severity.ERROR,
            subject="torch",
            summary=f"torch {torch.version} is built for AMD GPUs (ROCm {hip}), this machine has NVIDIA's",
            evidence=(f"{torch.location / 'version.py'}: hip = {hip}", f"GPU here: {gpus.devices[0].name}"),
            remedy=words.fix("Install a CUDA build of torch in its place.", allow=("torch",)),
        )


@check("T510", Family.TORCH)
def torch_requirements(torch: Torch, packages: Packages, python: Python) -> Iterator[Finding]:
    """Packages that torch itself needs are missing or of another version.

    torch's CUDA builds take cuDNN, cuBLAS, NCCL and others from packages named `nvidia-…`. Without one, `import
    torch` ends in `libcudnn.so…: cannot open shared object file`. Of another version they mostly load, and may fail
    later with `undefined symbol`. It comes from `--no-deps`, or from another package that pins its own.

    Check by hand: `pip check`.

    What to do: install the versions that torch asks for.
    """
    package = packages.find("torch")
    vendor = known(torch.vendor)
    if package is None or vendor:
        return
    installed = first_of_each(packages)
    needs = [need for need in unmet(package, installed, python) if need.name != "triton"]
    needs += unmet_of_extras(package, installed, python)
    if needs:
        missing = [need for need in needs if need.found is None]
        names = ", ".join(need.name for need in (missing or needs)[:4])
        yield Finding(
            code="T510",
            severity=Severity.ERROR if missing else Severity.WARNING,
            subject="torch",
            summary=f"torch {torch.version} needs {names}, "
            + ("which is missing" if missing else "which is there in another version"),
            evidence=words.listing(need.line for need in needs),
            remedy=advice("Install what torch asks for.", install(python, *(need.requirement for need in needs))),
        )
