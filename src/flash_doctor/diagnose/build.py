"""B: what a build needs. Compiling is rarely necessary: these are told only where something may be compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flash_doctor.diagnose.gpu import visible
from flash_doctor.diagnose.host import gib
from flash_doctor.diagnose.registry import check
from flash_doctor.facts import Facts
from flash_doctor.model import (
    Absent,
    Capability,
    Family,
    FlashAttention,
    Gpus,
    Host,
    Packages,
    Python,
    Severity,
    Toolchain,
    Torch,
    Unknown,
    known,
)
from flash_doctor.rules.engine import Found, need
from flash_doctor.system.commands import PLAN, advice, command, install

if TYPE_CHECKING:
    from packaging.version import Version


_WHEEL_FIRST = "A prebuilt wheel needs none of this: see first whether there is one."


def _severity(flash: FlashAttention | Absent, packages: Packages) -> Severity | None:
    """How much a build matters: DeepSpeed compiles while it runs; a missing flash-attn might have to be built."""
    if packages.find("deepspeed"):
        return Severity.WARNING
    return Severity.INFO if isinstance(flash, Absent) or not flash.packages else None


def _to_be_built(flash: FlashAttention | Absent, torch: Torch, gpus: Gpus) -> bool:
    """Whether flash-attn is lacking where it could run."""
    missing = isinstance(flash, Absent) or not flash.packages
    return missing and known(torch.cuda) is not None and bool(gpus.devices)


def _compiles_for(packages: Packages) -> str:
    return "DeepSpeed's operators" if packages.find("deepspeed") else "flash-attn from source"


@check("B801", Family.BUILD)
def nvcc_missing(
    toolchain: Toolchain, gpus: Gpus, torch: Torch, flash: FlashAttention | Absent, packages: Packages
) -> Iterator[Found]:
    """There is no CUDA compiler (nvcc).

    torch and flash-attn's wheels bring all they need; only compiling needs the CUDA toolkit: flash-attn from source, or
    DeepSpeed's operators. It ends in `CUDA_HOME environment variable is not set` or `nvcc was not found`.

    Check by hand: `nvcc --version`, `echo "$CUDA_HOME"`.

    What to do: look for a wheel first (`flash-doctor plan`); else install a toolkit of torch's CUDA major version and
    set CUDA_HOME to it.
    """
    severity, cuda = _severity(flash, packages), known(torch.cuda)
    if severity and cuda and gpus.devices and not toolchain.toolkits:
        yield Found(
            severity=severity,
            subject="nvcc",
            summary=f"no CUDA compiler (nvcc): {_compiles_for(packages)} cannot be compiled",
            evidence=("looked on PATH, in CUDA_HOME, /usr/local/cuda*, pip's and conda's packages",),
            remedy=advice(
                f"{_WHEEL_FIRST} Else install CUDA toolkit {cuda.major} and name its folder.",
                PLAN,
                command("export CUDA_HOME={}", f"/usr/local/cuda-{cuda}"),
            ),
        )


@check("B802", Family.BUILD)
def nvcc_of_another_major(
    toolchain: Toolchain, gpus: Gpus, torch: Torch, flash: FlashAttention | Absent, packages: Packages
) -> Iterator[Found]:
    """The CUDA compiler is of another major version than torch's CUDA.

    Three numbers are easily confused: the newest CUDA of the driver (nvidia-smi), that of the toolkit (nvcc), and the
    one torch is built with. For running only the driver's matters. For compiling, toolkit and torch must share the
    major version: else torch says `The detected CUDA version mismatches the version that was used to compile PyTorch`.

    Check by hand: `$CUDA_HOME/bin/nvcc --version`, `python -c "import torch; print(torch.version.cuda)"`.

    What to do: nothing, unless you compile; then install a toolkit of torch's major version and set CUDA_HOME.
    """
    severity, cuda, version = _severity(flash, packages), known(torch.cuda), _nvcc(toolchain)
    if severity and cuda and version and gpus.devices and version.major != cuda.major:
        others = [toolkit for toolkit in toolchain.toolkits[1:] if _major(toolkit.version) == cuda.major]
        home = others[0].nvcc.parent.parent if others else f"/usr/local/cuda-{cuda}"
        yield Found(
            severity=severity,
            subject="nvcc",
            summary=f"nvcc is of CUDA {version}, torch of CUDA {cuda}: {_compiles_for(packages)} cannot be compiled",
            evidence=_toolkit_lines(toolchain),
            remedy=advice(
                f"{_WHEEL_FIRST} Else let CUDA_HOME name a toolkit of CUDA {cuda.major}"
                + (", which is there already." if others else "."),
                PLAN,
                command("export CUDA_HOME={}", home),
            ),
        )


def _nvcc(toolchain: Toolchain) -> Version | None:
    """The version of the nvcc that a build would use; the check cannot be made when nvcc does not tell it."""
    if toolchain.chosen is None:
        return None
    return need(toolchain.chosen.version, absent=None)


def _major(version: Version | Absent | Unknown) -> int | None:
    found = known(version)
    return found.major if found else None


def _toolkit_lines(toolchain: Toolchain) -> tuple[str, ...]:
    return tuple(f"{kit.nvcc}: {known(kit.version) or 'not read'} (from {kit.origin})" for kit in toolchain.toolkits)


@check("B803", Family.BUILD)
def nvcc_and_gpu(
    toolchain: Toolchain, gpus: Gpus, flash: FlashAttention | Absent, packages: Packages, facts: Facts
) -> Iterator[Found]:
    """The CUDA compiler does not know this GPU.

    Each nvcc compiles for a range of GPUs: too old for a new one it says `Unsupported gpu architecture 'compute_120'`;
    the newest have dropped old GPUs.

    Check by hand: `nvcc --list-gpu-arch`.

    What to do: nothing, unless you compile; then use a CUDA toolkit that knows the GPU.
    """
    severity, version = _severity(flash, packages), _nvcc(toolchain)
    for gpu in visible(gpus) if severity and version else ():
        kind = facts.gpus.of(gpu.capability) if isinstance(gpu.capability, Capability) else None
        if severity is None or version is None or kind is None:
            continue
        minor = (version.major, version.minor)
        dropped = kind.nvcc_last is not None and minor > (kind.nvcc_last.major, kind.nvcc_last.minor)
        if dropped or minor < (kind.nvcc.major, kind.nvcc.minor):
            yield Found(
                severity=severity,
                subject="nvcc",
                summary=f"nvcc {version} does not compile for {gpu.name}: CUDA "
                + (f"{kind.nvcc_last} was the last that did" if dropped else f"{kind.nvcc} is the first that does"),
                evidence=(*_toolkit_lines(toolchain), f"GPU {gpu.index}: compute capability {gpu.capability}"),
                remedy=advice(f"{_WHEEL_FIRST} Else use another toolkit.", PLAN),
            )
            return


@check("B804", Family.BUILD)
def compiler_too_new(
    toolchain: Toolchain, gpus: Gpus, flash: FlashAttention | Absent, packages: Packages, facts: Facts
) -> Iterator[Found]:
    """The C++ compiler is too new for nvcc.

    nvcc hands part of the work to the machine's C++ compiler and refuses versions that came after it: `unsupported GNU
    version! gcc versions later than 13 are not supported!`. Skipping that test mostly ends in errors in headers.

    Check by hand: `g++ --version`, `nvcc --version`.

    What to do: nothing, unless you compile; then name an older compiler.
    """
    severity, nvcc, compiler = _severity(flash, packages), _nvcc(toolchain), known(toolchain.compiler)
    limits = facts.companions.host_compiler(nvcc) if nvcc else None
    version = known(compiler.version) if compiler else None
    if not (severity and limits and compiler and version and gpus.devices):
        return
    clang = "clang" in compiler.name
    most = limits.clang if clang else limits.gcc
    if most is not None and version.major > most:
        older = f"clang++-{most}" if clang else f"g++-{most}"
        yield Found(
            severity=severity,
            subject=compiler.name,
            summary=f"{compiler.name} {version} is too new for nvcc of CUDA {nvcc}, which takes up to {most}",
            evidence=(f"{compiler.path}: {version}", *_toolkit_lines(toolchain)[:1], f"source: {limits.source}"),
            remedy=advice(
                f"{_WHEEL_FIRST} Else install {older} and name it.",
                PLAN,
                command("export CXX={} CC={}", older, older.replace("++", "cc" if not clang else "")),
            ),
        )


@check("B805", Family.BUILD)
def no_compiler_for_triton(toolchain: Toolchain, gpus: Gpus, packages: Packages) -> Iterator[Found]:
    """Triton is installed, but it has no C compiler or no Python headers to work with.

    Triton (behind torch.compile, Liger, unsloth, parts of flash-attn) compiles a small C file for each kernel the first
    time it runs. It needs a C compiler and Python.h of exactly this Python: else `Failed to find C compiler` or `fatal
    error: Python.h: No such file or directory`, in the middle of a run.

    Check by hand: `cc --version`; `python -c "import sysconfig; print(sysconfig.get_paths()['include'])"` and look for
    Python.h there.

    What to do: install a compiler and this Python's development package.
    """
    if packages.find("triton") is None or not gpus.devices:
        return
    missing = {
        "a C compiler": isinstance(toolchain.compiler, Absent),
        "Python.h": isinstance(toolchain.python_headers, Absent),
    }
    lacking = [name for name, lacks in missing.items() if lacks]
    if lacking:
        parts = (toolchain.compiler, toolchain.python_headers)
        yield Found(
            severity=Severity.WARNING,
            subject="triton",
            summary=f"Triton cannot compile its kernels here: {' and '.join(lacking)} missing",
            evidence=tuple(part.absent for part in parts if isinstance(part, Absent)),
            remedy=advice(
                "Install them on the machine (in the image); a Python made by uv brings its own headers.",
                command("sudo apt install build-essential python3-dev"),
            ),
        )


@check("B806", Family.BUILD)
def build_modules(
    packages: Packages, python: Python, torch: Torch, gpus: Gpus, flash: FlashAttention | Absent, facts: Facts
) -> Iterator[Found]:
    """Modules that a build of flash-attn imports are missing.

    flash-attn is built without isolation (`--no-build-isolation`), because its setup.py imports torch. Then everything
    else that it imports must be installed as well: `No module named 'packaging'`, then `psutil`, then `wheel`, one
    after the other. Without ninja the build works, for hours, on one core.

    Check by hand: `pip list`.

    What to do: nothing if there is a wheel (`flash-doctor plan`); else install them all at once.
    """
    needed = facts.companions.build_modules
    missing = [name for name in needed if packages.find(name) is None]
    if missing and _to_be_built(flash, torch, gpus):
        yield Found(
            severity=Severity.INFO,
            subject="flash-attn",
            summary=f"a source build of flash-attn would lack {', '.join(missing)}",
            evidence=tuple(f"{name} is not installed: {needed[name]}" for name in missing),
            remedy=advice(f"{_WHEEL_FIRST} Else install them before.", PLAN, install(python, *missing)),
        )


@check("B807", Family.BUILD)
def memory_for_build(
    host: Host, gpus: Gpus, torch: Torch, flash: FlashAttention | Absent, facts: Facts
) -> Iterator[Found]:
    """There is too little memory for a build of flash-attn.

    A build runs one nvcc per core, each of which takes several gigabytes. A machine, container or scheduler's job
    without them ends it: `Killed`, `nvcc died due to signal 9`, or the whole machine stops answering.

    Check by hand: `free -g`, and the limit of the container or job.

    What to do: look for a wheel first; else set MAX_JOBS to what fits.
    """
    memory, limit = need(host.memory, absent=None), facts.companions.limits["build_memory"]
    if memory and _to_be_built(flash, torch, gpus) and min(memory.limit, memory.available) < limit.size:
        yield Found(
            severity=Severity.INFO,
            subject="memory",
            summary=f"{gib(min(memory.limit, memory.available))} of memory is too little to build flash-attn",
            evidence=(
                f"{gib(memory.available)} free, {gib(memory.limit)} allowed, {gib(memory.total)} in the machine",
                limit.why,
            ),
            remedy=advice(f"{_WHEEL_FIRST} Else build on a larger machine.", PLAN, command("export MAX_JOBS=1")),
        )
