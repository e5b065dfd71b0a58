"""The crash matrix: a fix killed, or refused a call, at its N-th change of the target, and what is there then."""

from __future__ import annotations

import errno
import mmap
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from clinic import Clinic
from flash_doctor.install.journal import FOLDER, journals
from trees import snapshot
from wheels import build_wheel

SOURCE = Path(__file__).with_name("mutating.c")
DIE = 0
MODES = {"killed": DIE, "ENOSPC": errno.ENOSPC, "EACCES": errno.EACCES, "EXDEV": errno.EXDEV}

Tree = dict[str, tuple[str, int, str]]


def compile_shim(folder: Path) -> Path:
    library = folder / "mutating.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-w", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


@dataclass
class Matrix:
    """One patient with an old flash-attn and a neighbour in the same folder; `fix` replaces the old one."""

    clinic: Clinic
    installer: str = "uv"
    before: Tree = field(default_factory=dict)
    after: Tree = field(default_factory=dict)
    calls: int = 0
    recovering: int = 0

    @classmethod
    def prepare(cls, folder: Path, installer: str = "uv", files: int = 4) -> Matrix:
        """`files`: how many more modules each version has, which is what makes a matrix long."""
        clinic = Clinic(folder)
        clinic.flash("2.8.1", modules=[f"old{number}" for number in range(files)])
        clinic.einops()
        assert clinic.fix("--want", "flash-attn==2.8.1").returncode == 0
        clinic.flash("2.8.3", modules=[f"new{number}" for number in range(files)])
        four = {"flash_attn/cute/__init__.py": "", "flash_attn/bert_padding.py": ""}
        wheel = build_wheel(folder / "four", "flash-attn-4", "4.0.0", four)
        uv = str(Path(sys.executable).with_name("uv"))
        options = ["-q", "--offline", "--no-deps", "--link-mode", "copy", "--python", str(clinic.venv)]
        subprocess.run([uv, "pip", "install", *options, str(wheel)], check=True)
        # the first fix was another one: what it kept is not under examination here
        (done,) = journals(clinic.site / FOLDER, clinic.venv)
        done.drop()
        (clinic.site / FOLDER).rmdir()
        matrix = cls(clinic, installer, before=snapshot(clinic.venv))
        matrix._shim()
        matrix._rehearse()
        return matrix

    def _shim(self) -> None:
        self.counter = self.clinic.folder / "counter"
        self.counter.write_bytes(bytes(8))
        self.library = compile_shim(self.clinic.folder)

    def _rehearse(self) -> None:
        """Once through, and back, to count."""
        done = self.fix(0)
        assert done.returncode == 0, done.stdout + done.stderr
        self.calls, self.after = self.counted(), self._without_state()
        self.clinic.environment.clear()
        assert self.clinic.run("rollback").returncode == 0
        assert snapshot(self.clinic.venv) == self.before
        self.fix(self.calls * 3 // 4)
        self._armed(0, DIE)
        self._recover()
        self.recovering = self.counted()
        assert snapshot(self.clinic.venv) == self.before

    def _armed(self, number: int, error: int) -> None:
        with self.counter.open("r+b") as file, mmap.mmap(file.fileno(), 8) as page:
            page[:] = bytes(8)
        self.clinic.environment = {
            "LD_PRELOAD": str(self.library),
            "MUTATING_BELOW": str(self.clinic.venv),
            "MUTATING_COUNTER": str(self.counter),
            "MUTATING_AT": str(number),
            "MUTATING_ERRNO": str(error),
        }

    def counted(self) -> int:
        return int.from_bytes(self.counter.read_bytes(), "little")

    def fix(self, number: int, error: int = DIE) -> subprocess.CompletedProcess[str]:
        self._armed(number, error)
        return self.clinic.fix("--want", "flash-attn==2.8.3", "--installer", self.installer)

    def _recover(self) -> subprocess.CompletedProcess[str]:
        return self.clinic.run("rollback", "--unfinished")

    def _without_state(self) -> Tree:
        """The new state; uv writes the lines of RECORD in the order in which its threads end."""
        venv, state = self.clinic.venv, str((self.clinic.site / FOLDER).relative_to(self.clinic.venv))
        found = {name: entry for name, entry in snapshot(venv).items() if not name.startswith(state)}
        records = {
            name: "".join(sorted((venv / name).read_text().splitlines())) for name in found if name.endswith("RECORD")
        }
        return found | {name: ("file", found[name][1], text) for name, text in records.items()}

    def try_at(self, number: int, mode: str = "killed") -> str:
        """What is wrong after the N-th change went wrong, and the recovery was killed once too; empty when all is well.

        The patient is as before again when this returns without a fault.
        """
        done = self.fix(number, MODES[mode])
        if mode != "killed" and done.returncode not in {0, 2, 4}:
            return f"exit code {done.returncode}: {done.stderr[-300:]}"
        self._armed(1 + number % max(1, self.recovering), DIE)
        self._recover()
        self.clinic.environment.clear()
        told = self._recover()
        if told.returncode:
            return f"recovery: {told.stderr[-300:]}"
        return self._fault()

    def _fault(self) -> str:
        found = snapshot(self.clinic.venv)
        if found == self.before:
            return ""
        state = self.clinic.site / FOLDER
        finished = [journal.done for journal in journals(state, self.clinic.venv)]
        if finished != [True]:
            return f"neither before nor after, journals {finished}: {difference(self.before, found)}"
        if self._without_state() != self.after:
            return f"said to be done and is not: {difference(self.after, self._without_state())}"
        self.clinic.run("rollback")
        return "" if snapshot(self.clinic.venv) == self.before else "a finished fix does not roll back"


def difference(one: Tree, other: Tree) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))[:8]
