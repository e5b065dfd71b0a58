"""Other users, real ones: their files and their processes, where the tests run as root."""

from __future__ import annotations

import contextlib
import os
import shutil
import site
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STRANGER = 12345
SOURCE = Path(__file__).parents[1] / "src"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


@contextmanager
def meeting_place() -> Iterator[Path]:
    """A folder that every user can enter and only we write; pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="flash-doctor-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def python_as(uid: int, code: str, *args: str | Path, **environ: str) -> str:
    """What a Python program prints that a user runs, with our package and what it needs on its path."""
    path = os.pathsep.join([str(SOURCE), *site.getsitepackages()])
    argv = [python_of(uid), "-c", code, *map(str, args)]
    done = run_as(uid, argv, environ={"PYTHONPATH": path, **environ})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run_as(uid: int, argv: list[str], *, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A program, run by another user in /, in an environment of its own."""
    ours = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
    return subprocess.run(
        argv, user=uid, group=uid, extra_groups=[], cwd="/", env={**ours, **environ}, capture_output=True, text=True
    )  # fmt: skip


@cache
def python_of(uid: int) -> str:
    """A Python of our version that this user can run: ours may lie in a home that is closed to him."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    reads = f"open({str(SOURCE / 'flash_doctor' / '__init__.py')!r}), open({typer.__file__!r})"
    for program in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        with contextlib.suppress(OSError):
            if run_as(uid, [program, "-c", reads], environ={}).returncode == 0:
                return program
    pytest.skip(f"uid {uid} can run no {version} here")
