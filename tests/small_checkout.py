"""A checkout in small: the real bootstrap scripts, a program of one module, locks of its own, an index on loopback."""

from __future__ import annotations

import ensurepip
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from servers import Site
from wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
# builds the editable wheel of the small program; pip calls it as it calls hatchling
BACKEND = """
import pathlib, sys
sys.path.insert(0, TESTS)
from wheels import build_wheel

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    files = {"small.pth": str(pathlib.Path("src").resolve()) + "\\n"}
    return build_wheel(pathlib.Path(wheel_directory), "flash-doctor", "0.1.0", files).name
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "flash-doctor"
version = "0.1.0"
"""


@dataclass
class SmallCheckout:
    """Its lock asks for `honest`, by hash; the index gives what `put` laid there. `honest` requires a `stranger`.

    `user` is whoever runs its scripts, where that is not the one who runs the tests.
    """

    folder: Path
    index: Site
    user: int | None = None

    @classmethod
    def make(cls, folder: Path, index: Site) -> SmallCheckout:
        index.headers["Content-Type"] = "text/html"
        folder.mkdir(parents=True)
        shutil.copytree(ROOT / "scripts" / "lib", folder / "scripts" / "lib")
        for name in ("doctor", "test"):
            shutil.copy2(ROOT / "scripts" / name, folder / "scripts" / name)
        (folder / "pyproject.toml").write_text(PYPROJECT)
        (folder / "backend.py").write_text(BACKEND.replace("TESTS", repr(str(ROOT / "tests"))))
        (folder / "src" / "flash_doctor").mkdir(parents=True)
        (folder / "src" / "flash_doctor" / "__main__.py").write_text("import honest\nprint('ran with', honest.WORD)\n")
        checkout = cls(folder, index)
        # the pip that comes with this Python is there already, so that the index need not have one
        checkout.lock("pip", f"pip=={ensurepip.version()}", "0" * 64)
        checkout.lock("run", "honest==1.0", hashlib.sha256(checkout.put("WORD = 'one'")).hexdigest())
        return checkout

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"

    @property
    def installed(self) -> list[str]:
        """The files of `honest` in the venv."""
        return sorted(str(path) for path in self.venv.rglob("*honest*"))

    def begin(self, venv: Path) -> None:
        """A venv with pip and nothing else, as it is when a first use was cut off there; saves three seconds."""
        shutil.copytree(venv, self.venv, symlinks=True)

    def put_fake_python(self, venv: Path | None = None) -> Path:
        """In place of a venv: a Python that does nothing but take notes. Its notes."""
        venv = venv or self.venv
        notes, python = venv / "notes", venv / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\necho "$@" >>{shlex.quote(str(notes))}\n')
        python.chmod(0o755)
        (venv / "set-up.lock").touch()
        return notes

    def lock(self, name: str, requirement: str, *digests: str) -> None:
        folder = self.folder / "scripts" / "locks"
        folder.mkdir(exist_ok=True)
        hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in digests)
        (folder / f"{name}.txt").write_text(f"{requirement}{hashes}\n")

    def put(self, module: str, *, told: str = "", suffix: str = "") -> bytes:
        """Lay a wheel of `honest` into the index, whose page may tell another hash of it."""
        files = {"honest.py": module}
        wheel = build_wheel(self.folder.parent / "built", "honest", "1.0", files, requires=("stranger",))
        body = wheel.read_bytes() + suffix.encode()
        self.index.files[f"/files/{wheel.name}"] = body
        link = f'<a href="/files/{wheel.name}{told}">{wheel.name}</a>'
        self.index.files["/simple/honest/"] = f"<!DOCTYPE html><html><body>{link}</body></html>".encode()
        return body

    def run(self, cwd: Path | None = None, /, **variables: str) -> subprocess.CompletedProcess[str]:
        """`scripts/doctor`, by somebody whose pip asks our index and nobody else."""
        dropped = ("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV", "FLASH_DOCTOR")
        quiet = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        ours: Mapping[str, str] = {
            "PYTHON": sys.executable,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"{self.index.url}/simple/",
            "PIP_NO_CACHE_DIR": "1",
        }
        return subprocess.run(
            [str(self.folder / "scripts" / "doctor")],
            capture_output=True,
            text=True,
            cwd=cwd or self.folder.parent,
            env={**quiet, **ours, **variables},
            timeout=120,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
        )
