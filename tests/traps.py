"""A folder as a hostile repository might be: whatever is run or read from it as a program leaves a file behind."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

# what Python imports at its start, what pip, uv, torch and we import, and what a test runner would
MODULES = (
    "pip", "_pip", "sitecustomize", "usercustomize", "torch", "flash_attn", "flash_attn_interface", "packaging", "yaml",
    "enum", "json", "site", "ctypes", "os", "re", "subprocess", "tempfile", "hashlib", "typing", "dataclasses",
    "random", "collections", "functools", "types", "warnings", "runpy", "contextlib", "requests", "rich", "typer",
    "pynvml", "ruamel", "pip_api", "setuptools", "wheel", "ray", "numpy", "einops", "triton", "tomli", "tomllib",
    "conftest", "flash_doctor", "importlib_metadata", "ssl", "socket", "logging", "inspect", "traceback", "itertools",
)  # fmt: skip
PACKAGES = ("encodings", "importlib", "pip_folder", "distutils", "email", "urllib", "_distutils_hack", "concurrent")
PROGRAMS = (
    "pip", "pip3", "uv", "nvidia-smi", "nvcc", "gcc", "g++", "c++", "cc", "ld", "as", "ninja", "cmake", "python3",
    "python", "srun", "sinfo", "scontrol", "ray", "git", "ldconfig", "doctor", "cat", "sh", "id", "lspci", "dmesg",
)  # fmt: skip


@dataclass(frozen=True)
class Traps:
    """The folder, and where what runs from it signs its name."""

    folder: Path
    ran: Path

    @property
    def sprung(self) -> list[str]:
        return sorted(path.name for path in self.ran.iterdir())

    def take_away(self, names: list[str]) -> None:
        """Disarm the modules that signed, and forget that they did."""
        for name in names:
            (self.ran / name).unlink()
            path = self.folder / name.removeprefix(f"{self.folder.name}-")
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def set_traps(folder: Path, index: str = "") -> Traps:
    """Fill the folder; `index` is an address that its settings for uv and pip name."""
    ran = folder.parent / f"{folder.name}-ran"
    folder.mkdir(parents=True)
    ran.mkdir()
    sub = folder / "src"
    for place in (folder, sub):
        place.mkdir(exist_ok=True)
        for name in MODULES:
            (place / f"{name}.py").write_text(_signing(ran, f"{place.name}-{name}.py"))
        for name in PACKAGES:
            (place / name).mkdir()
            (place / name / "__init__.py").write_text(_signing(ran, f"{place.name}-{name}"))
        (place / "trap.pth").write_text(_signing(ran, "pth").replace("\n", "; ").rstrip("; ") + "\n")
        for name in PROGRAMS:
            _program(place / name, ran)
    (folder / "bin").mkdir()
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in PROGRAMS:
        _program(folder / "bin" / name, ran)
    for name in ("python", "python3"):
        _program(folder / ".venv" / "bin" / name, ran)
    (folder / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.12.0\n")
    _settings(folder, index)
    return Traps(folder, ran)


def _signing(ran: Path, name: str) -> str:
    """Without imports: whichever module it stands for is not there yet."""
    return f"open({str(ran / name)!r}, 'a').close()\n"


def _program(path: Path, ran: Path) -> None:
    path.write_text(f'#!/bin/sh\necho "$0 $*" >> {ran}/{path.parent.name}-program-{path.name}\n')
    path.chmod(0o755)


def _settings(folder: Path, index: str) -> None:
    """What uv, pip and other tools read from the current folder, or might."""
    trap = f"{index}/trap/simple" if index else "https://127.0.0.1:9/trap/simple"
    settings = f'index-url = "{trap}"\nextra-index-url = ["{trap}"]\n'
    (folder / "uv.toml").write_text(settings)
    table = f'[project]\nname = "trap"\nversion = "1"\n[tool.uv]\n{settings}'
    (folder / "pyproject.toml").write_text(table)
    (folder / "pip.conf").write_text(f"[global]\nindex-url = {trap}\n")
    (folder / "setup.py").write_text("raise SystemExit('a setup.py of the current folder ran')\n")
    (folder / ".env").write_text(f"UV_INDEX_URL={trap}\nPIP_INDEX_URL={trap}\n")
    (folder / ".netrc").write_text("machine 127.0.0.1 login trap password trap\n")
    (folder / ".python-version").write_text("3.99\n")
