"""`doctor rollback` of a 700 MB package on one file system, against `uv pip uninstall` of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts" / "dev")]

from bench import Contestant  # noqa: E402 after the path to it

from clinic import DOCTOR, Clinic  # noqa: E402 after the path to it

TITLE = "rollback: a package of 700 MB in 400 files (each run begins with a copy of the fixed environment)"
MEGABYTES, MODULES = 700, 400


def prepare(folder: Path) -> None:
    clinic = Clinic(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clinic.flash(ballast=MEGABYTES << 20, modules=[f"m{number}" for number in range(MODULES)])
    clinic.einops()
    done = clinic.run("fix", "--yes", "--no-verify", "--offline", "--wheelhouse", str(clinic.wheels))
    assert done.returncode == 0, done.stderr
    clinic.venv.rename(folder / "fixed")


def contestants(work: Path) -> list[Contestant]:
    folder = work / "rollback"
    fixed, venv = folder / "fixed", folder / "venv"
    if not fixed.exists():
        # in a process of its own: the memory of this one would be counted as that of its children
        subprocess.run([sys.executable, __file__, str(folder)], check=True)
    # hard links: undoing moves and deletes names, it never writes into a file
    fresh = f"rm -rf {venv}; cp -al {fixed} {venv}"
    uv = Path(sys.executable).with_name("uv")
    undo = f"{DOCTOR} rollback --python {venv}"
    uninstall = f"{uv} pip uninstall -q --python {venv} flash-attn einops"
    return [
        Contestant("flash-doctor rollback", ["sh", "-c", f"{fresh}; exec {undo}"], "at most 1 s"),
        Contestant("uv pip uninstall", ["sh", "-c", f"{fresh}; exec {uninstall}"]),
        Contestant("the copy alone", ["sh", "-c", fresh]),
    ]


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
