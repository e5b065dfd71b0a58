"""`fix` that ends with a proof: stand-ins that compute attention with the real torch on the CPU, or fail to."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from clinic import Clinic, install_step, write_plan
from standins import make
from trees import snapshot
from wheels import build_wheel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch


@pytest.fixture
def guest(tmp_path: Path, torch_venv: Path) -> Clinic:
    """A venv that sees the real torch, which belongs to another one."""
    clinic = Clinic(tmp_path, stub=False, environment={"OMP_NUM_THREADS": "1"})
    packages = torch_venv / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (clinic.site / "torch.pth").write_text(str(packages))
    return clinic


def fix(clinic: Clinic, disease: str, *arguments: str, version: str = "2.8.3") -> dict[str, Any]:
    made = make(clinic.folder / version / disease, disease)
    files: dict[str, bytes | str] = {
        str(path.relative_to(made)): path.read_bytes() for path in made.rglob("*") if path.is_file()
    }
    wheel = build_wheel(clinic.folder / version / "dist", "flash-attn", version, files)
    plan = write_plan(clinic, install_step("flash-attn", version, wheel))
    done = clinic.run("fix", "--yes", "--plan", str(plan), "--device", "cpu", "--json", *arguments)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit_code"] == done.returncode, done.stderr
    return found


def test_an_honest_library_ends_verified_and_a_wrong_update_brings_it_back(guest: Clinic) -> None:
    done = fix(guest, "honest", "--require-kernel")
    assert (done["state"], done["proof"]["level"]) == ("installed and verified", "kernel")
    assert done["proof"]["cases"] > 10
    before = snapshot(guest.venv)
    wrong = fix(guest, "wrong gradients", version="2.8.4")
    assert (wrong["exit_code"], wrong["state"]) == (5, "verification failed, restored")
    assert "gradient" in str(wrong["proof"]["findings"])
    assert snapshot(guest.venv) == before


def test_a_busy_gpu_leaves_it_installed_not_verified(guest: Clinic) -> None:
    done = fix(guest, "out of memory")
    assert (done["exit_code"], done["state"]) == (0, "installed, not verified")
    assert "could not be used" in done["why"][0]
    assert (guest.site / "flash_attn").exists()


def test_a_crash_restores_and_names_its_signal(guest: Clinic) -> None:
    before = snapshot(guest.venv)
    done = fix(guest, "segfault")
    assert done["exit_code"] == 5
    assert "SIGSEGV" in str(done["proof"]["findings"])
    assert snapshot(guest.venv) == before
