"""Patients for treatments: real venvs with a small torch that really loads, and real wheels for them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiled import extension, references, shared
from wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable

ABI = f"cp{sys.version_info.major}{sys.version_info.minor}"
TAG = f"{ABI}-{ABI}-linux_x86_64"
LABEL = "+cu12torch2.8cxx11abiTRUE"
DOCTOR = Path(sys.executable).with_name("flash-doctor")
# what the stub torch exports, and what a wheel for another torch wants in its place
FITTING, FOREIGN = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_ib", "_ZN3c104cuda14newer_functionEv"

TORCH = """
import types
from torch import _C
__version__ = "2.8.0+cu128"
version = types.SimpleNamespace(cuda="12.8")
"""
FLASH = "import torch\nimport flash_attn_2_cuda\n__version__ = {version!r}\n{more}\n"


@dataclass
class Clinic:
    """A folder with a venv, wheels, the doctor's cache and data; `run` calls the doctor as people do."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    stub: bool = True
    name: str = "venv"
    python: str = sys.executable

    @cached_property
    def venv(self) -> Path:
        venv = self.folder / self.name
        if venv.exists():
            return venv
        subprocess.run([self.python, "-m", "venv", "--without-pip", str(venv)], check=True)
        if self.stub:
            self._stub_torch(next(venv.glob("lib/python3*/site-packages")))
        return venv

    @property
    def site(self) -> Path:
        """Where packages are; the venv is made when it is first asked for."""
        return next(self.venv.glob("lib/python3*/site-packages"))

    @property
    def wheels(self) -> Path:
        return self.folder / "wheels"

    def _stub_torch(self, site: Path) -> None:
        library = site / "torch" / "lib"
        library.mkdir(parents=True)
        (site / "torch" / "__init__.py").write_text(TORCH)
        (site / "torch" / "version.py").write_text("__version__ = '2.8.0+cu128'\ncuda = '12.8'\n")
        c10 = shared(library / "libc10.so", f"int {FITTING}(void) {{ return 1; }}", "-Wl,-soname,libc10.so")
        shared(library / "libtorch_cuda.so")
        # as in the real one: importing torch loads its libraries, and later extensions find them by their names
        made = extension(site / "torch", "_C", "", "-Wl,--no-as-needed", str(c10), "-Wl,-rpath,$ORIGIN/lib")
        made.rename(site / "torch" / f"_C.cpython-{ABI[2:]}-x86_64-linux-gnu.so")
        info = site / "torch-2.8.0+cu128.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.8.0+cu128\n")
        core = f"torch/_C.cpython-{ABI[2:]}-x86_64-linux-gnu.so"
        listed = [
            "torch/__init__.py",
            "torch/version.py",
            "torch/lib/libc10.so",
            "torch/lib/libtorch_cuda.so",
            core,
            f"{info.name}/METADATA",
        ]
        (info / "RECORD").write_text("".join(f"{name},,\n" for name in [*listed, f"{info.name}/RECORD"]))
        (info / "INSTALLER").write_text("pip\n")

    def flash(
        self,
        version: str = "2.8.3",
        *,
        symbol: str = FITTING,
        more: str = "",
        folder: str = "",
        tag: str = TAG,
        modules: Iterable[str] = (),
        ballast: int = 0,
    ) -> Path:
        """A flash-attn wheel whose extension wants one symbol of torch; its local tag stands in the name alone.

        `ballast` bytes lie beside it, and compress to a quarter, as GPU code does.
        """
        c10 = self.site / "torch" / "lib" / "libc10.so"
        made = extension(
            self.folder / "made" / version, "flash_attn_2_cuda", references([symbol]), "-Wl,--no-as-needed", str(c10)
        )
        name = f"flash_attn_2_cuda.cpython-{ABI[2:]}-x86_64-linux-gnu.so"
        files: dict[str, bytes | str] = {
            "flash_attn/__init__.py": FLASH.format(version=version, more=more),
            "flash_attn/bert_padding.py": "",
            "flash_attn/layers/__init__.py": "",
            "flash_attn/layers/rotary.py": "",
            name: made.read_bytes(),
            **({"flash_attn/ballast.bin": _like_gpu_code(ballast)} if ballast else {}),
            **{f"flash_attn/ops/{module}.py": f"name = {module!r}" for module in modules},
        }
        return build_wheel(
            self.folder / (folder or "wheels"), "flash-attn", version + LABEL, files, tag=tag, metadata_version=version,
            requires=("torch", "einops"),
        )  # fmt: skip

    def mismatched(self, version: str, *, ballast: int = 0) -> None:
        """Put a flash-attn there that was built for another torch, as an installer without a doctor would."""
        wheel = self.flash(version, symbol=FOREIGN, folder="elsewhere", ballast=ballast)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.site)
        (self.site / f"flash_attn-{version}.dist-info" / "INSTALLER").write_text("pip\n")

    def einops(self, folder: str = "wheels") -> Path:
        return build_wheel(self.folder / folder, "einops", "0.8.1", {"einops/__init__.py": "__version__ = '0.8.1'\n"})

    def environ(self) -> dict[str, str]:
        """Ours, without what would choose another target, and with folders of this clinic's own."""
        clean = {key: value for key, value in os.environ.items() if key not in {"VIRTUAL_ENV", "PYTHONPATH"}}
        own = {
            "FLASH_DOCTOR_CACHE": str(self.folder / "cache"),
            "FLASH_DOCTOR_DATA": str(self.folder / "data"),
            "NO_COLOR": "1",
        }
        return {**clean, **own, **self.environment}

    def run(self, *arguments: str, target: bool = True) -> subprocess.CompletedProcess[str]:
        python = ["--python", str(self.venv)] if target else []
        return subprocess.run(
            [str(DOCTOR), *arguments, *python], env=self.environ(), capture_output=True, text=True, cwd=self.folder
        )

    def fix(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """From the local folder, agreed beforehand, imported afterwards (there is no GPU)."""
        return self.run(
            "fix", "--yes", "--wheelhouse", str(self.wheels), "--offline", "--import-only", *arguments
        )  # fmt: skip


def _like_gpu_code(size: int) -> bytes:
    """Bytes that deflate shrinks to a quarter: every random piece comes four times."""
    return b"".join(os.urandom(256) * 4 for _ in range(size // 1024))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def install_step(name: str, version: str, path: Path, *, url: str = "", digest: str | None = "") -> dict[str, Any]:
    """A step as `doctor plan --json` writes it; the address and hash of the file itself unless others are given."""
    return {
        "action": "install", "name": name, "version": version, "requirement": f"{name}=={version}",
        "because": "a test wants it", "url": url or path.as_uri(), "sha256": sha256(path) if digest == "" else digest,
        "size": path.stat().st_size, "hash_state": "published", "indexes": [],
    }  # fmt: skip


def write_plan(clinic: Clinic, *steps: dict[str, Any]) -> Path:
    """A plan file with these steps."""
    goal = {"wanted": ["flash-attn"], "keep": ["torch"], "allow": []}
    path = clinic.folder / "plan.json"
    path.write_text(json.dumps({"schema": "flash-doctor/plan/1", "goal": goal, "steps": steps, "because": ["a test"]}))
    return path
