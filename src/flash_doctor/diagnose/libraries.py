"""L: CUDA libraries that torch brings, and foreign ones that get in its way."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flash_doctor.diagnose import words
from flash_doctor.diagnose.registry import check
from flash_doctor.model import (
    CommandLine,
    Family,
    LoaderLibrary,
    LoaderPath,
    Package,
    Packages,
    Python,
    Severity,
    Torch,
    known,
)
from flash_doctor.rules.engine import Found
from flash_doctor.system.commands import advice, command, install, uninstall

_NVIDIA = re.compile(r"nvidia-.+-cu(?P<cuda>\d\d)$")
# Other copies of these are known to break torch (undefined symbols of nvJitLink and NCCL, cuDNN's own parts, GLIBCXX);
# of the rest torch finds its own first, by the path that is written into its libraries.
_BREAKING = ("libcudnn", "libnccl", "libnvJitLink", "libstdc++", "libtorch", "libc10")
_BROUGHT = (*_BREAKING, "libcudart", "libcublas", "libcusparse", "libcusolver", "libcufft", "libnvrtc")


@check("L901", Family.LIBRARIES)
def mixed_cuda_packages(packages: Packages, torch: Torch, python: Python) -> Iterator[Found]:
    """CUDA libraries of two CUDA versions are installed.

    torch takes cuDNN, NCCL, cuBLAS and others from packages named `nvidia-…-cu12`, `-cu13` and so on. Packages of
    two CUDA versions unpack some files to the same place, `nvidia/nccl/lib/libnccl.so.2` for one, and overwrite
    each other: the last one wins. `undefined symbol: nccl…` and `libcudart.so.12: cannot open shared object file`
    come from it.

    Check by hand: `pip list | grep nvidia-`.

    What to do: uninstall those that do not belong to this torch's CUDA, then install torch's own again.
    """
    cuda = known(torch.cuda)
    foreign = [package for package in packages.distributions if cuda and _major(package) not in (None, cuda.major)]
    if not foreign or cuda is None:
        return
    own = [package for package in packages.distributions if _major(package) == cuda.major]
    stems = {_stem(package) for package in own}
    clash = [package for package in foreign if _stem(package) in stems]
    yield Found(
        severity=Severity.ERROR if clash else Severity.WARNING,
        subject="nvidia packages",
        summary=f"torch is built with CUDA {cuda}, but libraries of CUDA "
        + ", ".join(sorted({str(_major(package)) for package in foreign}))
        + (" overwrite its own" if clash else " are installed too"),
        evidence=(
            f"{torch.location / 'version.py'}: cuda = {cuda}",
            *words.listing(words.lies_in(package) for package in clash or foreign),
        ),
        remedy=advice(
            "Uninstall the foreign ones, then put torch's own back.",
            uninstall(python, *(package.name for package in foreign)),
            *_own_again(python, [package for package in own if _stem(package) in {_stem(one) for one in clash}]),
        ),
    )


def _major(package: Package) -> int | None:
    """The CUDA major version in a name such as nvidia-cudnn-cu12."""
    match = _NVIDIA.match(package.name)
    return int(match["cuda"]) if match else None


def _stem(package: Package) -> str:
    return package.name.rpartition("-cu")[0]


def _own_again(python: Python, own: list[Package]) -> tuple[CommandLine | None, ...]:
    pins = [f"{package.name}=={package.raw_version}" for package in own]
    return (install(python, *pins, options="--force-reinstall --no-deps"),) if pins else ()


@check("L902", Family.LIBRARIES)
def foreign_libraries(loader: LoaderPath, torch: Torch, packages: Packages, python: Python) -> Iterator[Found]:
    """LD_LIBRARY_PATH puts other CUDA libraries before torch's own.

    torch's wheels bring their own cuDNN, NCCL, nvJitLink and CUDA run-time. The variable LD_LIBRARY_PATH names folders
    that the loader searches first (before what such a wheel says with RUNPATH): a system toolkit's or conda's copy of
    another version is then loaded, and torch fails with `undefined symbol: __nvJitLinkComplete_12_4`,
    `CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH` or `version GLIBCXX_3.4.30 not found`. For libcudart, cuBLAS and the like
    torch mostly finds its own first; those alone are told as information.

    Check by hand: `env -u LD_LIBRARY_PATH python -c "import torch"` works where the plain command fails.

    What to do: unset LD_LIBRARY_PATH (in ~/.bashrc, the job script or the module that sets it) when training.
    """
    foreign = [library for library in loader.libraries if _foreign(library, torch, packages, python)]
    ours = known(torch.vendor) is None and known(torch.cuda) is not None
    if foreign and ours:
        names = sorted({library.soname.partition(".so")[0] for library in foreign})
        breaking = any(name.startswith(_BREAKING) for name in names)
        yield Found(
            severity=Severity.WARNING if breaking else Severity.INFO,
            subject="LD_LIBRARY_PATH",
            summary=f"LD_LIBRARY_PATH puts other copies of {', '.join(names[:4])} before torch's own",
            evidence=words.listing(f"{library.path} ({library.soname})" for library in foreign),
            remedy=advice("Start training without it.", command("unset LD_LIBRARY_PATH")),
        )


def _foreign(library: LoaderLibrary, torch: Torch, packages: Packages, python: Python) -> bool:
    """A library that torch brings too, from a folder that is not torch's or its nvidia packages'.

    conda brings a libstdc++ for its Python: in the target's own prefix that is the right one.
    """
    if library.soname.startswith("libstdc++") and library.path.is_relative_to(python.prefix):
        return False
    sites = {package.location for package in packages.distributions} | {torch.location.parent}
    inside = any(library.path.is_relative_to(site) for site in sites)
    return not inside and library.soname.startswith(_BROUGHT)


@check("L903", Family.LIBRARIES)
def preloaded_libraries(loader: LoaderPath) -> Iterator[Found]:
    """LD_PRELOAD forces libraries into every program.

    The variable LD_PRELOAD names libraries that are loaded before everything else, in Python too. Memory allocators
    (jemalloc, tcmalloc) are harmless; a libstdc++, CUDA or NCCL library in it replaces the one that torch was made
    with.

    Check by hand: `env -u LD_PRELOAD python -c "import torch"`.

    What to do: unset LD_PRELOAD, unless you know why it is there.
    """
    risky = [name for name in loader.preload if name.rpartition("/")[2].startswith((*_BROUGHT, "libcuda"))]
    if risky:
        yield Found(
            severity=Severity.WARNING,
            subject="LD_PRELOAD",
            summary=f"LD_PRELOAD forces {', '.join(risky)} into every program",
            evidence=(f"LD_PRELOAD={':'.join(loader.preload)}",),
            remedy=advice("Start training without it.", command("unset LD_PRELOAD")),
        )
