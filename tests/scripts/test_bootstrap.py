"""scripts/doctor and scripts/test on a fresh clone: first use, half-made and broken venvs, no usable Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ("src", "wheel_matrix", "scripts", "pyproject.toml", "README.md", "SECURITY.md", "LICENSE")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files a clone brings, somewhere with a space in its path."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in SHIPPED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / name)
    return folder


def ready(checkout: Path, venv: Path) -> None:
    """The stamp of a venv that was made from this checkout as it is."""
    words = 'source scripts/lib/venv.sh && inputs_of "" >"$venv/.flash-doctor"'
    subprocess.run(["bash", "-c", words], cwd=checkout, env={**os.environ, "FLASH_DOCTOR_VENV": str(venv)}, check=True)


def demand_complete(checkout: Path) -> None:
    """Nothing that something installed requires is missing: the locks are installed without looking."""
    argv = [str(checkout / ".venv" / "bin" / "python"), "-I", "-m", "pip", "check"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def run(checkout: Path, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    return subprocess.run(
        [str(checkout / "scripts" / script), *arguments],
        capture_output=True,
        text=True,
        cwd=checkout.parent,
        env={**environment, **variables},
        timeout=300,
    )


@pytest.mark.index
def test_first_use_later_use_and_repair(checkout: Path) -> None:
    first = run(checkout, "doctor", "--version")
    assert first.returncode == 0, first.stderr
    assert "flash-doctor" in first.stdout
    assert "making" in first.stderr
    assert "installing" in first.stderr
    assert run(checkout, "doctor", "--version").stderr == "", "a later use has nothing to say"
    demand_complete(checkout)

    (checkout / ".venv" / ".flash-doctor").unlink()
    interrupted = run(checkout, "doctor", "--version")
    assert interrupted.returncode == 0
    assert "making" not in interrupted.stderr, "a venv that has pip is completed, not made again"

    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python3")
    repaired = run(checkout, "doctor", "--version")
    assert repaired.returncode == 0, repaired.stderr
    assert "making" in repaired.stderr


@pytest.mark.index
def test_the_test_command_brings_pytest(checkout: Path) -> None:
    shutil.copytree(ROOT / "tests" / "http", checkout / "tests" / "http")
    for helper in (ROOT / "tests").glob("*.py"):
        if not helper.name.startswith("test_"):
            shutil.copy2(helper, checkout / "tests" / helper.name)
    done = run(checkout, "test", "-k", "secrets")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    demand_complete(checkout)


def test_no_usable_python_is_said(checkout: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "readlink", "env", "flock", "tail"):
        (tools / name).symlink_to(str(shutil.which(name)))
    old = tools / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = run(checkout, "doctor", "check", PATH=str(tools))
    assert done.returncode == 2
    assert "no Python 3.10 or newer" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_failing_install_shows_its_end_and_is_no_ready_venv(checkout: Path) -> None:
    done = run(checkout, "doctor", "check", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(checkout))
    assert done.returncode == 2
    assert "pip could not install" in done.stderr
    assert not list((checkout / ".venv").glob(".flash-doctor*"))


def test_it_runs_through_a_link_from_anywhere(checkout: Path, tmp_path: Path) -> None:
    venv = checkout / ".venv"
    (venv / "bin").mkdir(parents=True)
    fake = venv / "bin" / "python"
    fake.write_text('#!/bin/sh\necho "$PWD: $*"\n')
    fake.chmod(0o755)
    ready(checkout, venv)
    link = tmp_path / "doctor"
    link.symlink_to(checkout / "scripts" / "doctor")
    done = subprocess.run([str(link), "check", "a b"], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == f"{tmp_path}: -I -m flash_doctor check a b\n", "arguments and the caller's folder are kept"


def test_variables_that_break_every_python_do_not_break_this_one(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    python = tmp_path / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    ready(checkout, tmp_path / "venv")
    for name in ("enum", "types", "random", "typing"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger ran')\n")
    sick = {"PYTHONHOME": "/nowhere", "PYTHONPATH": f"{tmp_path}:{tmp_path}/", "PYTHONSTARTUP": "/nowhere"}
    done = run(checkout, "doctor", "--version", FLASH_DOCTOR_VENV=str(tmp_path / "venv"), **sick)
    assert done.stdout.startswith("flash-doctor "), done.stderr


@pytest.mark.index
def test_the_first_use_does_not_mind_them_either(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "enum.py").write_text("raise SystemExit('a stranger ran')\n")
    done = run(checkout, "doctor", "--version", PYTHONHOME="/nowhere", PYTHONPATH=str(tmp_path))
    assert done.stdout.startswith("flash-doctor "), done.stderr
