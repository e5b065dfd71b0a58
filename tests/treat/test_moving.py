"""Where renaming is not enough: layers of a container, and a package that lies on another file system."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flash_doctor.install.journal import FOLDER
from flash_doctor.install.summary import copied_instead
from flash_doctor.install.target_state import TargetState, examine
from flash_doctor.model import Target
from flash_doctor.probe.volume import Mount
from flash_doctor.system.process import SystemRunner
from mounts import mounted
from trees import snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clinic import Clinic


@pytest.fixture
def old(clinic: Clinic) -> Clinic:
    """A patient with an old flash-attn of a megabyte, and a new one on the shelf."""
    clinic.flash("2.8.1", ballast=1 << 20)
    clinic.einops()
    assert clinic.fix("--want", "flash-attn==2.8.1").returncode == 0
    clinic.flash("2.8.3")
    return clinic


def patient(clinic: Clinic) -> TargetState:
    return examine(Target(python=clinic.venv / "bin" / "python", why="test"), SystemRunner())


def told(clinic: Clinic, *mounts: Mount) -> list[str]:
    plain = Mount(point=Path("/"), filesystem="ext4")
    return list(copied_instead(patient(clinic), ["flash-attn", "einops"], (plain, *mounts)))


def test_renaming_is_enough_on_one_plain_file_system(old: Clinic) -> None:
    assert told(old) == []


def test_packages_on_a_file_system_of_their_own(old: Clinic) -> None:
    (note,) = told(old, Mount(point=old.site.resolve(), filesystem="ext4"))
    assert "programs are copied" in note


def test_a_package_on_another_file_system_is_copied(old: Clinic) -> None:
    package = old.site / "flash_attn"
    beside = shutil.copytree(package, old.folder / "copy")
    with mounted(package, "-t", "tmpfs", "tmpfs"):
        shutil.copytree(beside, package, dirs_exist_ok=True)
        (note,) = told(old)
        assert note.startswith("5 old files with 1 MiB lie on another file system")
        done = old.fix("--want", "flash-attn==2.8.3", "--json")
        assert json.loads(done.stdout)["state"] == "installed and verified", done.stderr
        assert "2.8.3" in (package / "__init__.py").read_text()
        assert old.run("rollback").returncode == 0
        assert "2.8.1" in (package / "__init__.py").read_text()


@pytest.fixture
def layered(old: Clinic) -> Iterator[Clinic]:
    """The same environment as the lower layer of an overlay, as in a container."""
    layers = old.folder / "layers"
    for name in ("upper", "work"):
        (layers / name).mkdir(parents=True)
    lower = shutil.move(old.venv, old.folder / "lower")
    old.venv.mkdir()
    options = f"lowerdir={lower},upperdir={layers / 'upper'},workdir={layers / 'work'}"
    with mounted(old.venv, "-t", "overlay", "overlay", "-o", options):
        yield old


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
