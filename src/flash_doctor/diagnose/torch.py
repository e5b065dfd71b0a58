"""T: torch itself, read from disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flash_doctor.diagnose import words
from flash_doctor.diagnose.registry import check
from flash_doctor.diagnose.requires_dist import disagree, first_of_each, unmet, unmet_of_extras
from flash_doctor.diagnose.tags import misfit
from flash_doctor.facts import Facts
from flash_doctor.model import Absent, Family, Gpus, Package, Packages, Python, Severity, Torch, Unknown, known
from flash_doctor.rules import explains
from flash_doctor.rules.engine import Found, need
from flash_doctor.system.commands import advice, command, install, uninstall


@check("T501", Family.TORCH)
def torch_absent(torch: Torch | Absent, python: Python, packages: Packages) -> Iterator[Found]:
    """torch is not installed.

    flash-attn, and everything else that is checked from here on, is an extension of torch (PyTorch). Often torch is
    installed, but in another environment than the one that is being checked: read the first line of the report.

    Check by hand: `PYTHON -c "import torch"` with the Python that the report names.

    What to do: `flash-doctor plan --allow torch` chooses a torch that this driver runs and that flash-attn has a wheel
    for; or check the right environment with `flash-doctor check --python PATH`.
    """
    if isinstance(torch, Absent) and packages.find("torch") is None:
        folders = ", ".join(str(folder) for folder in python.site_packages)
        yield Found(
            severity=Severity.ERROR,
            subject="torch",
            summary="torch is not installed in this environment",
            evidence=(f"no torch folder and no torch metadata in {folders}",),
            remedy=words.fix("Install a torch that the driver runs and flash-attn has a wheel for.", allow=("torch",)),
        )


@check("T502", Family.TORCH)
def cpu_build(torch: Torch, gpus: Gpus) -> Iterator[Found]:
    """torch is a CPU build on a machine with a GPU.

    There are builds of torch without any GPU code. They come from an install with `--index-url …/cpu`, from conda's
    `cpuonly`, from a requirements step that replaced a CUDA torch, and on aarch64 from the package index up to torch
    2.10. Messages such as `Torch not compiled with CUDA enabled` and `CUDA is not linked properly` mean this.

    Check by hand: `python -c "import torch; print(torch.__version__, torch.version.cuda)"` prints `None` at the end.

    What to do: install a CUDA build of torch in its place, torchvision and torchaudio with it.
    """
    if gpus.devices and isinstance(torch.cuda, Absent) and isinstance(torch.hip, Absent):
        names = sorted({gpu.name for gpu in gpus.devices})
        yield Found(
            severity=Severity.ERROR,
            subject="torch",
            summary=f"torch {torch.version} is a CPU build: it cannot use the GPU of this machine",
            evidence=(
                f"{torch.location / 'version.py'} names no CUDA",
                *_library_lines(torch),
                f"{len(gpus.devices)} GPU here: {', '.join(names)} (read through {gpus.source.value})",
            ),
            about=(explains.BUILD_WITHOUT_CUDA,),
            remedy=words.fix("Install a CUDA build of torch in its place.", allow=("torch",)),
        )


def _library_lines(torch: Torch) -> tuple[str, ...]:
    if "libtorch_cuda.so" in torch.libraries:
        return ()
    return (f"there is no libtorch_cuda.so in {torch.location / 'lib'}",)


@check("T503", Family.TORCH)
def vendor_build(torch: Torch) -> Iterator[Found]:
    """torch comes from a vendor (an NVIDIA container image or a Jetson): leave it alone.

    A version such as `2.8.0a0+…nv25.06` is NVIDIA's own build. It is not the torch of the same number from the
    package index: wheels that others publish for that number fail on it with `undefined symbol`. The image brings a
    flash-attn of its own that belongs to it.

    Check by hand: `python -c "import torch; print(torch.__version__)"`.

    What to do: nothing. Keep torch and flash-attn of the image; if you need another version, take another image or
    build from source inside this one.
    """
    vendor = known(torch.vendor)
    if vendor:
        yield Found(
            severity=Severity.INFO,
            subject="torch",
            summary=f"torch {torch.version} is a build of {vendor}: leave it and its flash-attn as they are",
            evidence=(f"the version in {torch.location / 'version.py'} says so",),
        )


# Set in NVIDIA's PyTorch images; the first names the version of the torch that the image was made with.
_IMAGE_TORCH = "PYTORCH_BUILD_VERSION"
_IMAGE_MARKS = (_IMAGE_TORCH, "NVIDIA_PYTORCH_VERSION")


@check("T504", Family.TORCH)
def vendor_torch_replaced(torch: Torch, variables: Mapping[str, str], packages: Packages) -> Iterator[Found]:
    """The torch of an NVIDIA image was replaced by another one.

    NVIDIA's PyTorch images bring torch, flash-attn, Transformer Engine and apex built for one another. When a later
    `pip install` puts the package index's torch in, or a new venv in the image does not see the image's torch, all
    those compiled packages fail with `undefined symbol`.

    Check by hand: `echo $PYTORCH_BUILD_VERSION` against `python -c "import torch; print(torch.__version__)"`.

    What to do: start the image anew and install with `--no-deps` or with the image's constraints (`PIP_CONSTRAINT`);
    make venvs in it with `--system-site-packages`.
    """
    image = [f"{name}={variables[name]}" for name in _IMAGE_MARKS if variables.get(name)]
    if image and known(torch.vendor) is None and not isinstance(torch.vendor, Unknown):
        package = packages.find("torch")
        yield Found(
            severity=Severity.WARNING,
            subject="torch",
            summary=f"this is an NVIDIA PyTorch image, but torch {torch.version} is not the image's own",
            evidence=(*image, f"torch lies in {torch.location}", *(words.came_from(package) if package else ())),
            remedy=advice(
                "Start the image anew; in it, let venvs see the image's torch and install without moving it.",
                command("python3 -m venv --system-site-packages .venv"),
            ),
        )


@check("T505", Family.TORCH)
def torch_files_missing(
    packages: Packages, torch: Torch | Absent | Unknown, python: Python, facts: Facts
) -> Iterator[Found]:
    """Files of torch are missing or cut off.

    The file RECORD beside torch's metadata lists every file that was installed. Here some of them are gone or have
    another size: an install was interrupted, a disk was full, or another package wrote over them.

    Check by hand: look for the named files.

    What to do: install the same torch again with `--force-reinstall --no-deps`.
    """
    package = packages.find("torch")
    if package is None or package.editable:
        return
    if not isinstance(torch, Absent):
        need(package.record, absent=None)
    lost = _lost(package, torch)
    if not lost:
        need(torch, absent=None)
    else:
        yield Found(
            severity=Severity.ERROR,
            subject="torch",
            summary=f"torch {package.raw_version} is damaged: files that were installed are missing or changed",
            evidence=(words.lies_in(package), *words.listing(lost)),
            remedy=advice("Install the same torch again.", words.same_torch(package.raw_version, python, facts)),
        )


def _lost(package: Package, torch: Torch | Absent | Unknown) -> list[str]:
    record = known(package.record)
    lost = [f"no module: {package.location / 'torch' / 'version.py'} is not there"] if isinstance(torch, Absent) else []
    if record is not None:
        lost += [f"missing: {package.location / path}" for path in record.missing]
        lost += [f"changed: {package.location / path}" for path in record.changed]
    if isinstance(torch, Torch) and _lacks_cuda_library(torch):
        lost.append(f"missing: {torch.location / 'lib' / 'libtorch_cuda.so'}")
    return list(dict.fromkeys(lost))


def _lacks_cuda_library(torch: Torch) -> bool:
    """A CUDA build without the library that holds its GPU code; a build whose folder was not read lacks nothing."""
    there = any(name.startswith("libtorch_cuda") for name in torch.libraries)
    return known(torch.cuda) is not None and bool(torch.libraries) and not there


@check("T506", Family.TORCH)
def two_torches(packages: Packages, torch: Torch, python: Python) -> Iterator[Found]:
    """torch is there twice, or its metadata names another version than its files.

    conda and pip each install a torch of their own, an interrupted upgrade leaves both, or a copy lies in ~/.local.
    pip then decides by one of them and Python imports the other: packages are installed for a torch that is not used.

    Check by hand: `python -c "import torch; print(torch.__version__, torch.__file__)"` against `pip show torch`.

    What to do: uninstall torch until none is left, then install it once.
    """
    copies = packages.copies("torch")
    differs = disagree(packages, torch)
    if len(copies) > 1 or differs:
        yield Found(
            severity=Severity.ERROR if differs else Severity.WARNING,
            subject="torch",
            summary=f"Python imports torch {torch.version}, the metadata names "
            + " and ".join(package.raw_version for package in copies),
            evidence=(
                f"{torch.location / 'version.py'} says {torch.version}",
                *(words.lies_in(package) for package in copies),
            ),
            remedy=advice(
                "Uninstall torch until none is left, then install it once.",
                uninstall(python, "torch"),
                command("flash-doctor plan --allow torch"),
            ),
        )


@check("T511", Family.TORCH)
def torch_unmanaged(packages: Packages, torch: Torch, python: Python, facts: Facts) -> Iterator[Found]:
    """pip does not know this torch, or cannot replace it.

    Beside torch lies a folder `torch-VERSION.dist-info` that says which version was installed and, in its file
    RECORD, which files. Without the folder pip believes that torch is missing, and the next package that asks for
    torch brings another one on top of this one. Without RECORD pip stops with `no RECORD file was found`.

    Check by hand: `pip show -f torch`, with the pip of this environment.

    What to do: install the same torch again, which writes both anew.
    """
    package = packages.find("torch")
    why = _unmanaged(package)
    if why and torch.location.parent in python.site_packages and known(torch.vendor) is None:
        again = words.same_torch(package.raw_version if package else str(torch.version), python, facts)
        yield Found(
            severity=Severity.WARNING,
            subject="torch",
            summary=f"torch {torch.version} cannot be managed by pip: {why}",
            evidence=(
                f"{torch.location} is there",
                f"not there: {package.metadata / 'RECORD' if package else torch.location.parent / 'torch-*.dist-info'}",
            ),
            remedy=advice("Install the same torch again.", again),
        )


def _unmanaged(package: Package | None) -> str:
    """Why pip cannot deal with it; what conda or the system's own tools installed is not for pip to manage."""
    if package is None:
        return "its metadata is missing"
    installed_by_pip = package.installer in {"pip", "uv"} and not package.editable
    return "the list of its files is missing" if installed_by_pip and isinstance(package.record, Absent) else ""


@check("T507", Family.TORCH)
def torch_for_another_python(packages: Packages, torch: Torch, python: Python) -> Iterator[Found]:
    """torch was built for another Python.

    torch's compiled part is made for one Python version. It does not load in another: a folder copied between
    environments, a PYTHONPATH of another Python, or a venv whose Python was replaced by the system's upgrade.

    Check by hand: the line `Tag:` in the named WHEEL file, against `python --version`.

    What to do: install torch anew in this environment.
    """
    package = packages.find("torch")
    why = misfit(package.tags, python) if package else None
    if package and why:
        yield Found(
            severity=Severity.ERROR,
            subject="torch",
            summary=f"torch {torch.version} does not fit this Python: {why}",
            evidence=(f"{package.metadata / 'WHEEL'}: Tag: {package.tags[0]}", f"{python.executable}: {python.abi}"),
            remedy=words.fix("Install torch anew in this environment.", allow=("torch",)),
        )


@check("T508", Family.TORCH)
def python_not_supported(torch: Torch, python: Python, facts: Facts) -> Iterator[Found]:
    """This torch release was never made for this Python.

    Each torch release publishes wheels for certain Python versions. Outside of them torch was built by hand or comes
    from another project, and flash-attn has no wheel for the pair either.

    Check by hand: `pip download --no-deps torch==VERSION` finds nothing for this Python.

    What to do: use one of the Python versions that the finding names.
    """
    release = facts.torch.release(torch.version) if words.is_cpython(python) else None
    if release and python.abi not in release.pythons and known(torch.vendor) is None:
        yield Found(
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
def rocm_build(torch: Torch, gpus: Gpus) -> Iterator[Found]:
    """torch is a build for AMD GPUs on a machine with NVIDIA GPUs.

    A ROCm build of torch (`+rocm…`) cannot use an NVIDIA GPU, nor can flash-attn's CUDA wheels be used with it.

    Check by hand: `python -c "import torch; print(torch.version.hip)"`.

    What to do: install a CUDA build of torch in its place.
    """
    hip = known(torch.hip)
    if gpus.devices and hip:
        yield Found(
            severity=Severity.ERROR,
            subject="torch",
            summary=f"torch {torch.version} is built for AMD GPUs (ROCm {hip}), this machine has NVIDIA's",
            evidence=(f"{torch.location / 'version.py'}: hip = {hip}", f"GPU here: {gpus.devices[0].name}"),
            about=(explains.BUILD_WITHOUT_CUDA,),
            remedy=words.fix("Install a CUDA build of torch in its place.", allow=("torch",)),
        )


@check("T510", Family.TORCH)
def torch_requirements(torch: Torch, packages: Packages, python: Python) -> Iterator[Found]:
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
        yield Found(
            severity=Severity.ERROR if missing else Severity.WARNING,
            subject="torch",
            summary=f"torch {torch.version} needs {names}, "
            + ("which is missing" if missing else "which is there in another version"),
            evidence=words.listing(need.line for need in needs),
            about=(explains.TORCH_LIBRARIES,),
            remedy=advice("Install what torch asks for.", install(python, *(need.requirement for need in needs))),
        )
