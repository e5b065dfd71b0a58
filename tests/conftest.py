"""Fixtures that several areas share: a runner, an empty venv, and the real torch in a venv of its own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import pytest

from flash_doctor.system.process import SystemRunner
from kept import CACHE, TORCH, TORCH_VENV

if TYPE_CHECKING:
    from pathlib import Path

# Tests that were started in the background, or by nohup, ignore these, and so would the children that we send them to:
# an ignored signal stays ignored in a program that is started, a handled one does not.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

# What a shell, a container or a terminal sets and the doctor, or a tool that it starts, reads.
_FOREIGN = (
    "PYTHON", "PIP_", "UV_", "HF_", "HUGGINGFACE_", "TRANSFORMERS_", "CUDA_", "NVIDIA_", "NCCL_", "TORCH", "LD_",
    "CONDA_", "VIRTUAL_ENV", "XDG_", "FLASH_", "WANDB_", "SLURM_", "RAY_", "LC_", "LANG", "CLICOLOR",
)  # fmt: skip
_OF_A_TERMINAL = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM", "TTY_COMPATIBLE", "MAX_JOBS", "CC", "CXX"}
# the worker of xdist starts in the surroundings that we made, and finds these there
_KEPT_SETTINGS, _KEPT_CACHE = "PYTEST_INDEX_SETTINGS", "PYTEST_KEPT_CACHE"
_OWN_HOME = tempfile.mkdtemp(prefix="flash-doctor-home-")


def pytest_configure(config: pytest.Config) -> None:
    """The same surroundings for every test and for its children, whoever runs them and from wherever."""
    given = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_")) or name == "HOME"}
    os.environ.setdefault(_KEPT_SETTINGS, json.dumps(given))
    os.environ.setdefault(_KEPT_CACHE, str(CACHE))
    for name in [name for name in os.environ if name.startswith(_FOREIGN) or name in _OF_A_TERMINAL]:
        if not name.startswith("FLASH_DOCTOR_REQUIRE") and not name.startswith("PYTEST"):
            del os.environ[name]
    os.environ |= {"LANG": "C.UTF-8", "TZ": "UTC", "HOME": _OWN_HOME}
    os.environ["FLASH_DOCTOR_PROGRAM"] = "flash-doctor"  # as it is called where it is installed, not `python -m`
    time.tzset()
    os.umask(0o022)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_OWN_HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def _settings_of_the_index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks a real index is told of it as whoever runs the tests is: by variables and a file in their home."""
    if any(request.node.get_closest_marker(name) for name in ("torch", "index", "online")):
        for name, value in index_settings().items():
            monkeypatch.setenv(name, value)


def index_settings() -> dict[str, str]:
    settings: dict[str, str] = json.loads(os.environ[_KEPT_SETTINGS])
    return settings


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
    environ = os.environ | index_settings()
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    report = subprocess.run(
        [*pip, "install", "--dry-run", "--no-deps", "--quiet", "--report", "-", TORCH],
        capture_output=True, text=True, env=environ,
    )  # fmt: skip
    if report.returncode or "cpu" not in report.stdout:
        return f"pip finds no CPU build of {TORCH} here: {report.stderr.strip()[-200:]}"
    installed = subprocess.run([*pip, "install", "--quiet", TORCH], capture_output=True, text=True, env=environ)
    if installed.returncode:
        return f"pip could not install {TORCH}: {installed.stderr.strip()[-200:]}"
    (folder / "ready").touch()
    return ""
