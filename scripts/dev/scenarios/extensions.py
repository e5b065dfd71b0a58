"""`doctor check` on an environment with torch and 40 compiled packages that need it; 20 of them lack a symbol."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

from bench import Contestant
from scenarios.check import patient_with_torch

from flash_doctor.abi.buffer import mapped
from flash_doctor.abi.elf import Elf
from flash_doctor.abi.symbols import exported_names

TITLE = "check: a venv with torch and 40 compiled packages that need it"
PACKAGES = 40
# As many as torchvision's _C.so, and some more
SYMBOLS = 250
LOST = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb"


def contestants(work: Path) -> list[Contestant]:
    venv = _patient(work)
    python = str(venv / "bin" / "python")
    imports = "import glob, torch\nfor path in sorted(glob.glob(torch.__path__[0] + '/../ext*/_C.so')):\n"
    imports += "    try: torch.ops.load_library(path)\n    except OSError: pass\n"
    ours = str(Path(sys.executable).with_name("flash-doctor"))
    return [
        Contestant("flash-doctor check", [ours, "check", "--python", python], "at most 0.5 s", codes=(0, 1)),
        Contestant("import torch and load all 40", [python, "-c", imports]),
    ]


def _patient(work: Path) -> Path:
    """Made once and kept: links to the other scenario's torch, and packages of one compiled file each."""
    venv = work / "extensions"
    if not (venv / "ready").exists():
        source = patient_with_torch(work)
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(venv)], check=True)
        site, torch = (next((each / "lib").glob("python3*/site-packages")) for each in (venv, source))
        for entry in torch.iterdir():
            (site / entry.name).symlink_to(entry)
        _compile(work / "_C.so", site / "torch" / "lib", lost=False)
        _compile(work / "lost.so", site / "torch" / "lib", lost=True)
        for number in range(PACKAGES):
            _install(site, f"ext{number}", work / ("lost.so" if number % 2 else "_C.so"))
        (venv / "ready").touch()
    return venv


def _compile(path: Path, lib: Path, *, lost: bool) -> None:
    """A library that wants symbols of torch."""
    library = lib / "libtorch_cpu.so"
    with mapped(library) as data:
        names = [name for name in islice(exported_names(Elf(data, library.name)), 5000) if name.startswith("_Z")]
    wanted = names[:SYMBOLS] + [LOST] * lost
    source = "".join(f'extern char s{index}[] __asm__("{name}");\n' for index, name in enumerate(wanted))
    source += f"void *table_of_references[] = {{ {', '.join(f's{index}' for index in range(len(wanted)))} }};\n"
    options = [
        f"-L{lib}",
        "-Wl,--no-as-needed",
        "-l:libtorch_cpu.so",
        "-l:libc10.so",
        "-Wl,--unresolved-symbols=ignore-all",
    ]
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-x", "none", "-o", str(path), *options]
    subprocess.run(command, input=source.encode(), check=True)


def _install(site: Path, name: str, file: Path) -> None:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (site / name).mkdir()
    shutil.copy(file, site / name / "_C.so")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: torch\n")
    (info / "RECORD").write_text(f"{name}/_C.so,,\n{info.name}/METADATA,,\n")
