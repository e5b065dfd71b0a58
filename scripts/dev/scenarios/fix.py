"""`doctor fix` of a local 250 MB wheel, against `uv pip install` and `sha256sum` of the same file in one run."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts" / "dev")]

from bench import Contestant  # noqa: E402 after the path to it

from clinic import DOCTOR, Clinic  # noqa: E402 after the path to it

TITLE = "fix: a local wheel of 250 MB that unpacks to 1 GB (without verification, whose time is the library's)"
MEGABYTES = 250


def prepare(work: Path) -> None:
    clinic = Clinic(work / "fix")
    clinic.folder.mkdir(parents=True)
    clinic.flash(ballast=4 * MEGABYTES << 20)
    clinic.einops()


def contestants(work: Path) -> list[Contestant]:
    clinic = Clinic(work / "fix")
    if not clinic.wheels.exists():
        # in a process of its own: the memory of this one would be counted as that of its children
        subprocess.run([sys.executable, __file__, str(work)], check=True)
    wheel = next(clinic.wheels.glob("flash_attn*.whl"))
    venv, environment = str(clinic.venv), clinic.environ()
    uv = Path(sys.executable).with_name("uv")
    remove = f"{uv} pip uninstall -q --python {venv} flash-attn einops; rm -rf {clinic.site / '.flash-doctor'}"
    install = f"{uv} pip install -q --offline --no-deps --no-cache --python {venv}"
    fix = f"{DOCTOR} fix --yes --no-verify --offline --wheelhouse {clinic.wheels} --python {venv}"
    both = f"{install} {shlex.quote(str(wheel))} {clinic.wheels}/einops*.whl && sha256sum {shlex.quote(str(wheel))}"
    return [
        Contestant("flash-doctor fix", ["sh", "-c", f"{remove}; exec {fix}"], "at most 1.15x", environment=environment),
        Contestant(
            "uv pip install + sha256sum", ["sh", "-c", f"{remove}; {both}"], "at least 1/1.15", environment=environment
        ),
    ]


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
