"""Every command, called from a folder full of traps: nothing that lies there runs, and no setting of it is heeded."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clinic import Clinic, install_step, write_plan
from flash_doctor.cli.app import COMMANDS
from servers import Site, serve
from traps import Traps, set_traps

if TYPE_CHECKING:
    from collections.abc import Iterator

# command -> the ways in which it starts others; VENV and the like are put in
CALLS: dict[str, tuple[tuple[str, ...], ...]] = {
    "check": (
        ("--python", "VENV", "-r", "requirements.txt"),
        ("--python", "VENV", "--deep", "--json", "--output", "OUT/report.json"),
        ("--host-only",),
    ),
    "explain": (("--python", "VENV", "log.txt"), ("P408",)),
    "run": (("--", "/bin/sh", "-c", "exit 3"),),
    "abi": (("--python", "VENV", "WHEEL"),),
    "plan": (
        ("--python", "VENV", "--gpu", "H100"),
        ("--gpu", "H100", "--torch", "2.8.0+cu128", "--python-version", "3.12", "--glibc", "2.35"),
    ),
    "fix": (
        ("--python", "VENV", "--plan", "PLAN", "--yes", "--import-only", "--installer", "INSTALLER"),
        ("--python", "VENV", "--yes", "--offline", "--wheelhouse", "WHEELS"),
    ),
    "verify": (("--python", "VENV", "--import-only"), ("--python", "VENV", "--device", "cpu")),
    "rollback": (("--python", "VENV", "--list"), ("--python", "VENV")),
    "bundle": (("--python", "VENV", "OUT/bundle"),),
    "preflight": (("--python", "VENV", "train.yaml"),),
    "watch": (("--once", "OUT"),),
    "stacks": (("--check", "STACK"),),
    "lint-setup": ((".",),),
    "matrix": (("lint",), ("refresh",)),
    "fleet": (("check", "--engine", "slurm"), ("check", "--engine", "ray"), ("compare", "OUT")),
}


@dataclass
class Hostile:
    """A clinic whose commands are called from the folder of traps."""

    clinic: Clinic
    traps: Traps
    index: Site
    installer: str
    python: str
    words: dict[str, str] = field(default_factory=dict)

    def environ(self) -> dict[str, str]:
        """PATH begins with the current folder, in three ways; settings of the user's own are there and meant."""
        kept = {name: value for name, value in self.clinic.environ().items() if not name.startswith(("UV_", "PIP_"))}
        path = os.pathsep.join(("", ".", "bin", os.defpath, ""))
        home = self.clinic.folder / "home"
        home.mkdir(exist_ok=True)
        honest = f"{self.index.url}/honest/simple"
        return {**kept, "PATH": path, "HOME": str(home), "PIP_INDEX_URL": honest, "UV_INDEX_URL": honest}

    def call(self, command: str, words: tuple[str, ...], *start: str, **environ: str) -> None:
        argv = [word.replace(key, value) for word in words for key, value in [self._of(word)]]
        done = subprocess.run(
            [*(start or (self.python, "-I", "-m", "flash_doctor")), command, *argv],
            cwd=self.traps.folder, env={**self.environ(), **environ}, capture_output=True, text=True, timeout=300,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert "itself failed" not in done.stderr + done.stdout, done.stderr
        assert "No such option" not in done.stderr
        assert self.traps.sprung == [], (command, words)

    def _of(self, word: str) -> tuple[str, str]:
        return next(((key, value) for key, value in self.words.items() if key in word), ("\0", ""))


@pytest.fixture(params=["uv", "pip"])
def hostile(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hostile]:
    """With uv beside the doctor's interpreter, and with none."""
    clinic = Clinic(tmp_path / "clinic")
    clinic.folder.mkdir()
    clinic.mismatched("2.7.0")
    wheel, einops = clinic.flash("2.8.3"), clinic.einops()
    python = sys.executable if request.param == "uv" else str(_without_uv(tmp_path / "lean"))
    with serve(Site()) as index:
        traps = set_traps(tmp_path / "repository", index.url)
        _inputs(traps.folder)
        out = tmp_path / "out"
        out.mkdir()
        steps = install_step("flash-attn", "2.8.3", wheel), install_step("einops", "0.8.1", einops)
        plan = write_plan(clinic, *steps)
        words = {
            "VENV": str(clinic.venv), "OUT": str(out), "WHEELS": str(clinic.wheels), "WHEEL": str(wheel),
            "PLAN": str(plan), "INSTALLER": request.param, "STACK": _stack(),
        }  # fmt: skip
        yield Hostile(clinic, traps, index, request.param, python, words)


def _without_uv(folder: Path) -> Path:
    """An environment that sees the doctor's packages, and has no program beside its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next(folder.glob("lib/python3*/site-packages"))
    ours = [path for path in sys.path if path.endswith("-packages")]
    source = Path(sys.modules["flash_doctor"].__file__ or "").parents[1]
    (site / "doctor.pth").write_text("".join(f"{path}\n" for path in [*ours, source]))
    return folder / "bin" / "python"


def _inputs(folder: Path) -> None:
    (folder / "requirements.txt").write_text("einops\ntorch>=2\n")
    (folder / "log.txt").write_text("ImportError: libc10.so: cannot open shared object file\n")
    (folder / "train.yaml").write_text("base_model: ./model\ndatasets: []\noutput_dir: ./out\n")


def _stack() -> str:
    from flash_doctor.facts import Facts

    return next(iter(Facts().stacks))


def test_every_command_is_called() -> None:
    assert set(CALLS) == set(COMMANDS)
    assert all(CALLS.values())


@pytest.mark.parametrize("command", CALLS)
def test_nothing_of_the_current_folder_runs(hostile: Hostile, command: str) -> None:
    for words in CALLS[command]:
        hostile.call(command, words)
    assert not [path for path, _ in hostile.index.requests if "trap" in path]


def test_python_finds_nothing_there_through_variables_either(hostile: Hostile) -> None:
    """An empty entry is what `PYTHONPATH=$PYTHONPATH:/more` makes of an unset variable."""
    for search in (":.", "src", "./src:.", "/nowhere:"):
        for command in ("check", "verify", "plan"):
            hostile.call(command, CALLS[command][0], PYTHONPATH=search, LD_LIBRARY_PATH=search, PYTHONUSERBASE=".")


def test_as_a_module_of_python(hostile: Hostile) -> None:
    """`python -m` begins with the current folder: what Python itself imports from it runs before our first line."""
    _spring_what_python_springs(hostile)
    hostile.call("check", CALLS["check"][0], hostile.python, "-m", "flash_doctor")


def _spring_what_python_springs(hostile: Hostile) -> None:
    (hostile.traps.folder / "flash_doctor.py").unlink()
    for _ in range(20):
        argv = [hostile.python, "-m", "flash_doctor_is_not_there"]
        subprocess.run(argv, cwd=hostile.traps.folder, env=hostile.environ(), capture_output=True)
        if not hostile.traps.sprung:
            return
        hostile.traps.take_away(hostile.traps.sprung)
    pytest.fail("Python springs ever more traps")


def test_the_honest_index_was_asked(hostile: Hostile) -> None:
    """The counterpart: the settings that the user made in variables are heeded, by uv and by pip."""
    hostile.call("stacks", CALLS["stacks"][0])
    # uv looks for settings and environments in every folder above its own, and in /tmp anybody may leave them
    hostile.call("stacks", CALLS["stacks"][0], TMPDIR=str(hostile.traps.folder))
    asked = {path.partition("/simple")[0] for path, _ in hostile.index.requests}
    assert asked == {"/honest"}


def test_traps_do_spring(tmp_path: Path) -> None:
    """What the other tests rest on."""
    traps = set_traps(tmp_path / "repository")
    subprocess.run([sys.executable, "-c", "import torch"], cwd=traps.folder, check=False)
    subprocess.run(["./uv"], cwd=traps.folder, check=True)
    assert traps.sprung == ["repository-program-uv", "repository-torch.py"]
