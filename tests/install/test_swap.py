"""Stage with the real pip and uv, swap into a real venv, undo: nobody can tell that anything happened."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flash_doctor.errors import BadInput, InstallFailed
from flash_doctor.install.installers import Installer, LocalWheel, Pip, Uv
from flash_doctor.install.journal import FOLDER, Journal, journals, tidy
from flash_doctor.install.staging import stage
from flash_doctor.install.swap import plan_swap, staged_site
from flash_doctor.model import Packages, Target, known
from flash_doctor.probe import probe
from flash_doctor.system.process import SystemRunner
from trees import snapshot
from wheels import build_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

OLD: dict[str, bytes | str] = {
    "flash_attn/__init__.py": "old = True",
    "flash_attn/ops/old.py": "",
    "flash_attn_2_cuda.so": b"old binary",
    "flash_attn_data/only_old.txt": "x",
}
NEW: dict[str, bytes | str] = {
    "flash_attn/__init__.py": "new = True",
    "flash_attn/fresh/new.py": "",
    "flash_attn_2_cuda.so": b"new binary",
}
SHARED: dict[str, bytes | str] = {"flash_attn/cute/__init__.py": "fa4", "flash_attn/ops/shared.py": "both list this"}


def uv() -> Uv:
    return Uv(program=Path(sys.executable).with_name("uv"))


INSTALLERS: dict[str, Callable[[], Installer]] = {"pip": Pip, "uv": uv}


def local(path: Path, name: str = "flash-attn") -> LocalWheel:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return LocalWheel(path=path, name=name, sha256=digest, url=f"https://example.invalid/{path.name}")


@pytest.fixture
def site(venv: Path) -> Path:
    return next(venv.glob("lib/python3*/site-packages"))


@pytest.fixture
def target(venv: Path) -> Target:
    return Target(python=venv / "bin" / "python", why="test")


@pytest.fixture
def patient(venv: Path, tmp_path: Path, site: Path) -> Path:
    """flash-attn 1.0 and a neighbour in the same folder, installed for real, the former imported once."""
    old = build_wheel(tmp_path / "dist", "flash-attn", "1.0", {**OLD, "flash_attn/ops/shared.py": "both list this"})
    four = build_wheel(tmp_path / "dist", "flash-attn-4", "4.0", SHARED)
    for wheel in (old, four):
        subprocess.run(
            [str(uv().program), "pip", "install", "-q", "--offline", "--no-deps", "--link-mode", "copy",
             "--python", str(venv), str(wheel)], check=True,
        )  # fmt: skip
    compiling = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run([str(venv / "bin" / "python"), "-c", "import flash_attn"], env=compiling, check=True)
    assert list((site / "flash_attn" / "__pycache__").glob("__init__*.pyc")), "there is nothing stale to be removed"
    return site


def packages(target: Target) -> Packages:
    found = known(probe(target, SystemRunner()).packages)
    assert found is not None
    return found


def swap_in(wheel: LocalWheel, target: Target, site: Path, installer: Installer) -> Journal:
    folder = site / FOLDER / "1"
    staged = stage([wheel], site / FOLDER / "staging", target, installer, SystemRunner())
    here = packages(target)
    swap = plan_swap(
        "flash-attn 1.0 -> 2.0",
        removed=here.copies("flash-attn"),
        others=[package for package in here.distributions if package.name != "flash-attn"],
        staged=staged,
        site=site,
        prefix=target.python.parents[1],
    )
    journal = Journal.write(folder, swap)
    journal.apply()
    return journal


@pytest.mark.parametrize("name", INSTALLERS)
def test_replace_and_undo(patient: Path, tmp_path: Path, target: Target, name: str) -> None:
    before = snapshot(target.python.parents[1])
    new = build_wheel(tmp_path / "dist", "flash-attn", "2.0+cu12", NEW, metadata_version="2.0", requires=("einops",))
    journal = swap_in(local(new), target, patient, INSTALLERS[name]())
    journal.finish()
    assert (patient / "flash_attn_2_cuda.so").read_bytes() == b"new binary"
    assert (patient / "flash_attn" / "cute" / "__init__.py").read_text() == "fa4"
    assert (patient / "flash_attn" / "ops" / "shared.py").exists(), "another distribution lists it too"
    assert not (patient / "flash_attn" / "ops" / "old.py").exists()
    assert not (patient / "flash_attn_data").exists(), "an empty folder would import as a namespace package"
    assert not list((patient / "flash_attn" / "__pycache__").glob("__init__*")), "compiled from the old file"
    origin = json.loads((patient / "flash_attn-2.0.dist-info" / "direct_url.json").read_text())
    assert origin["url"] == f"https://example.invalid/{new.name}"
    here = packages(target)
    assert [package.raw_version for package in here.copies("flash-attn")] == ["2.0"]
    check = subprocess.run([str(target.python), "-c", "import flash_attn; assert flash_attn.new"], capture_output=True)
    assert check.returncode == 0
    (found,) = journals(patient / FOLDER, target.python.parents[1])
    found.undo()
    tidy(patient / FOLDER)
    assert snapshot(target.python.parents[1]) == before


@pytest.mark.parametrize("name", INSTALLERS)
def test_what_does_not_fit_is_refused_before_anything_moves(
    patient: Path, tmp_path: Path, target: Target, name: str
) -> None:
    before = snapshot(target.python.parents[1])
    wrong_tag = build_wheel(tmp_path / "dist", "flash-attn", "2.0", NEW, tag="cp27-cp27mu-win32")
    truncated = build_wheel(tmp_path / "cut", "flash-attn", "2.1", NEW)
    truncated.write_bytes(truncated.read_bytes()[:-40])
    wrong_hash = LocalWheel(path=wrong_tag, name="flash-attn", sha256="0" * 64, url="https://example.invalid/x")
    for number, wheel in enumerate((local(wrong_tag), local(truncated), wrong_hash)):
        with pytest.raises(InstallFailed) as caught:
            stage([wheel], tmp_path / f"stage{number}", target, INSTALLERS[name](), SystemRunner())
        assert caught.value.evidence
    assert snapshot(target.python.parents[1]) == before


def test_a_distribution_without_a_record_is_refused(patient: Path, tmp_path: Path, target: Target) -> None:
    (patient / "flash_attn-1.0.dist-info" / "RECORD").unlink()
    new = build_wheel(tmp_path / "dist", "flash-attn", "2.0", NEW)
    with pytest.raises(BadInput, match="has no RECORD"):
        swap_in(local(new), target, patient, uv())
    shutil.rmtree(patient / FOLDER)


def test_a_file_that_nobody_owns_is_kept_for_undo(patient: Path, tmp_path: Path, target: Target) -> None:
    (patient / "flash_attn" / "fresh").mkdir()
    (patient / "flash_attn" / "fresh" / "new.py").write_text("mine")
    before = snapshot(patient)
    new = build_wheel(tmp_path / "dist", "flash-attn", "2.0", NEW)
    swap_in(local(new), target, patient, uv()).undo()
    tidy(patient / FOLDER)
    assert snapshot(patient) == before


@pytest.mark.parametrize("installer", INSTALLERS)
def test_metadata_that_a_package_carries_inside_is_no_folder_of_packages(
    tmp_path: Path, venv: Path, installer: str
) -> None:
    """As setuptools carries those of the packages that it vendors."""
    files: dict[str, bytes | str] = {
        "big/__init__.py": "",
        "big/_vendor/small-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: small\nVersion: 1\n",
        "big/_vendor/small-1.dist-info/RECORD": "",
    }
    wheel = local(build_wheel(tmp_path / "wheels", "big", "1", files), "big")
    target = Target(python=venv / "bin" / "python", why="test")
    prefix = stage([wheel], tmp_path / "work", target, INSTALLERS[installer](), SystemRunner())
    assert (staged_site(prefix) / "big-1.dist-info").is_dir()
