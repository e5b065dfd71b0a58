"""Fixtures that several areas share: a runner, an empty venv, and the real torch in a venv of its own."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from flash_doctor.command import SystemRunner
from kept import CACHE, TORCH, TORCH_VENV

if TYPE_CHECKING:
    from pathlib import Path

# Tests that were started in the background, or by nohup, ignore these, and so would the children that we send them to:
# an ignored signal stays ignored in a program that is started, a handled one does not.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


@pytest.fixture
def runner() -> SystemRunner:
    return SystemRunner()


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A real virtual environment without pip, made in milliseconds."""
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


@pytest.fixture(scope="session")
def torch_venv() -> Path:
    """A venv with the real torch's CPU build, made once and kept; it is read, never changed.

    Skipped, with the reason, where pip finds only multi-gigabyte builds; `.ci/run` forbids that skip.
    """
    folder = TORCH_VENV
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        reason = "" if (folder / "ready").exists() else _make_torch_venv(folder)
    if reason and os.environ.get("FLASH_DOCTOR_REQUIRE_TORCH"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    return folder


def _make_torch_venv(folder: Path) -> str:
    """Install torch; the reason why it cannot be done, or nothing."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    report = subprocess.run(
        [*pip, "install", "--dry-run", "--no-deps", "--quiet", "--report", "-", TORCH], capture_output=True, text=True
    )
    if report.returncode or "cpu" not in report.stdout:
        return f"pip finds no CPU build of {TORCH} here: {report.stderr.strip()[-200:]}"
    installed = subprocess.run([*pip, "install", "--quiet", TORCH], capture_output=True, text=True)
    if installed.returncode:
        return f"pip could not install {TORCH}: {installed.stderr.strip()[-200:]}"
    (folder / "ready").touch()
    return ""
