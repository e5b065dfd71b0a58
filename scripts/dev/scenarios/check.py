"""`doctor check` on a venv with the real torch and 60 distributions, against the tools people use today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench import Contestant

TITLE = "check: a venv with torch and 60 distributions"
TORCH = "torch==2.13.0"
DISTRIBUTIONS = 60


def contestants(work: Path) -> list[Contestant]:
    patient = patient_with_torch(work)
    python = str(patient / "bin" / "python")
    # env-doctor also installs a script called doctor, so the peers live in the patient and never beside us
    return [
        Contestant("flash-doctor check", [_ours(), "check", "--python", python], "at most 0.22 s, 80 MB", codes=(0, 1)),
        Contestant("torch.utils.collect_env", [python, "-m", "torch.utils.collect_env"], "at least 8x"),
        Contestant("env-doctor check", [str(patient / "bin" / "env-doctor"), "check"], "at least 6x", codes=(0, 1)),
        Contestant("rigsolve check", [str(patient / "bin" / "rigsolve"), "check"], "at least 1/1.2", codes=(0, 1, 2)),
    ]


def _ours() -> str:
    return str(Path(sys.executable).with_name("flash-doctor"))


def patient_with_torch(work: Path) -> Path:
    """Made once and kept: torch, the two peers, and small packages up to 60 distributions."""
    venv = work / "patient"
    if not (venv / "ready").exists():
        work.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, TORCH], check=True)
        subprocess.run([*pip, "env-doctor", "rigsolve"], check=True)
        _fill(venv)
        (venv / "ready").touch()
    return venv


def _fill(venv: Path) -> None:
    """Metadata of small distributions, until there are 60."""
    site = next((venv / "lib").glob("python3*/site-packages"))
    for number in range(DISTRIBUTIONS - len(list(site.glob("*.dist-info")))):
        folder = site / f"filler_{number}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: filler-{number}\nVersion: 1.0\nRequires-Dist: packaging>=20\n"
        )
        (folder / "RECORD").write_text(f"filler_{number}-1.0.dist-info/METADATA,,\n")
        (folder / "INSTALLER").write_text("pip\n")
