"""Where renaming is not enough: layers of a container, and a package that lies on another file system."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flash_doctor.command import SystemRunner
from flash_doctor.install.journal import FOLDER
from flash_doctor.model import Target
from flash_doctor.treat.moving import copied_instead
from flash_doctor.treat.patient import Patient, examine
from trees import snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clinic import Clinic

MEMORY = Path("/dev/shm")


@pytest.fixture
def old(clinic: Clinic) -> Clinic:
    """A patient with an old flash-attn of a megabyte, and a new one on the shelf."""
    clinic.flash("2.8.1", ballast=1 << 20)
    clinic.einops()
    assert clinic.fix("--want", "flash-attn==2.8.1").returncode == 0
    clinic.flash("2.8.3")
    return clinic


def patient(clinic: Clinic) -> Patient:
    return examine(Target(python=clinic.venv / "bin" / "python", why="test"), SystemRunner())


def test_renaming_is_enough_on_one_plain_file_system(old: Clinic) -> None:
    assert copied_instead(patient(old), ["flash-attn", "einops"]) == ""


@pytest.mark.skipif(not MEMORY.is_dir(), reason="there is no second file system to be sure of")
def test_a_package_on_another_file_system_is_copied(old: Clinic) -> None:
    if MEMORY.stat().st_dev == old.site.stat().st_dev:
        pytest.skip("temporary files lie in memory too")
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        moved = shutil.move(old.site / "flash_attn", folder)
        (old.site / "flash_attn").symlink_to(moved)
        told = copied_instead(patient(old), ["flash-attn"])
    assert told.startswith("up to 5 files with 1 MiB are copied rather than renamed")
    assert "another file system" in told


@pytest.fixture
def layered(old: Clinic) -> Iterator[Clinic]:
    """The same environment as the lower layer of an overlay, as in a container."""
    layers = old.folder / "layers"
    for name in ("upper", "work"):
        (layers / name).mkdir(parents=True)
    lower = shutil.move(old.venv, old.folder / "lower")
    old.venv.mkdir()
    options = f"lowerdir={lower},upperdir={layers / 'upper'},workdir={layers / 'work'}"
    mounted = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(old.venv)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no overlay can be mounted here: {mounted.stderr.decode().strip()}")
    yield old
    subprocess.run(["umount", str(old.venv)], check=True)


def test_a_fix_in_the_layers_of_a_container_says_what_it_costs_and_goes_back(layered: Clinic) -> None:
    def packages() -> dict[str, tuple[str, int, str]]:
        return {name: entry for name, entry in snapshot(layered.venv).items() if FOLDER not in name}

    before = packages()
    done = layered.fix("--want", "flash-attn==2.8.3", "--json")
    outcome = json.loads(done.stdout)
    assert outcome["state"] == "installed and verified", done.stderr
    assert any("overlayfs" in note for note in outcome["sheet"]["notes"])
    assert layered.run("rollback").returncode == 0
    assert packages() == before
