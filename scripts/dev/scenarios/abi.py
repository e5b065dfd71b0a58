"""`doctor abi` on a real 254 MB extension against the real torch, and the import that fails."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from bench import Contestant
from scenarios.check import patient_with_torch

TITLE = "abi: vllm-flash-attn 2.6.2 (254 MB) against torch 2.13.0 (libtorch_cpu.so: 434 MB)"
WHEEL = "vllm-flash-attn==2.6.2"
_TAGS = ["--python-version", "3.11", "--platform", "manylinux1_x86_64", "--only-binary", ":all:"]


def contestants(work: Path) -> list[Contestant]:
    python = str(patient_with_torch(work) / "bin" / "python")
    extension = _extension(work / "vllm")
    load = "import sys, torch\ntorch.ops.load_library(sys.argv[1])"
    ours = str(Path(sys.executable).with_name("flash-doctor"))
    return [
        Contestant("flash-doctor abi", [ours, "abi", str(extension), "--python", python], "at most 0.25 s", codes=(1,)),
        Contestant("the import", [python, "-c", load, str(extension)], "at least 5x, 3x the memory", codes=(1,)),
    ]


def _extension(folder: Path) -> Path:
    """Downloaded and unpacked once, and kept."""
    found = list(folder.glob("*.so"))
    if not found:
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *_TAGS, "--dest", str(folder), WHEEL]
        subprocess.run(pip, check=True)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.endswith(".so")])
        wheel.unlink()
        found = list(folder.glob("*.so"))
    return found[0]
