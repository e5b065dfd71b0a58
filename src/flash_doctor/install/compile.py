"""One compile: the source unpacked, the variables set, the target's interpreter run, the wheel taken out.

The variables that a plan may set are a closed list, since some make a compile run anything. A variable can name a
library that is loaded (LD_PRELOAD), a folder that code is imported from (PYTHONPATH), or a program that is started (CC,
CUDA_HOME). A plan file may say how much is compiled, for which GPUs, and with how many jobs; the user's own variables
are another matter, and win (install/build_step.py).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput, InstallFailed, TimedOut
from flash_doctor.install.fetch import hash_of
from flash_doctor.install.files import write_whole
from flash_doctor.system.archive import BadArchive, extract
from flash_doctor.system.owner import is_trusted, open_trusted
from flash_doctor.system.paths import tool_environment
from flash_doctor.system.private import make_private
from flash_doctor.system.process import Command
from flash_doctor.system.redact import cut, secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flash_doctor.model import Target
    from flash_doctor.system.process import Runner


_COUNT, _SWITCH = r"[1-9]\d{0,3}", "TRUE|FALSE"
# name -> what its value may look like
ALLOWED = {
    "FLASH_ATTENTION_FORCE_BUILD": _SWITCH,
    "FLASH_ATTENTION_SKIP_CUDA_BUILD": _SWITCH,
    "FLASH_ATTN_CUDA_ARCHS": r"(\d{2,3}(;\d{2,3}){0,31})?",
    "TORCH_CUDA_ARCH_LIST": r"\d{1,2}\.\d[af]?(\+PTX)?([; ]\d{1,2}\.\d[af]?(\+PTX)?){0,31}",
    "MAX_JOBS": _COUNT,
    "NVCC_THREADS": _COUNT,
}


def accept_settings(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The settings of a build as a plan file names them, each looked up.

    Raises:
        BadInput: one that is not in the list, whose value has another form, or that stands there twice.
    """
    accepted: dict[str, str] = {}
    for name, value in pairs:
        if name in accepted:
            raise _refused(name, "it is set twice")
        if name not in ALLOWED:
            raise _refused(name, f"a plan may set {', '.join(ALLOWED)}")
        if not re.fullmatch(ALLOWED[name], value, re.ASCII):
            raise _refused(name, f"its value is {cut(value, 80)!r}")
        accepted[name] = value
    return tuple(accepted.items())


def _refused(name: str, why: str) -> BadInput:
    message = f"the plan sets {cut(name, 80)!r} for a compile, which a plan may not"
    advice = "If you want it, set it yourself, in the environment that `flash-doctor fix` is called in."
    return BadInput(message, evidence=(why,), advice=advice)


TIMEOUT = 12 * 3600.0
_STEP = re.compile(rb"\[(\d+)/(\d+)\]")
# setuptools' own way for a setup.py without pyproject.toml; the current folder comes first, as with `python setup.py`
_BUILD = """
import sys
from setuptools.build_meta import __legacy__ as backend
print("built " + backend.build_wheel(sys.argv[1]))
"""
_LAST_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where one build happens: `folder` is named after everything that its result depends on."""

    folder: Path

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def out(self) -> Path:
        return self.folder / "wheel"

    def clear_out(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.record.unlink(missing_ok=True)
        self.out.mkdir(parents=True)

    @property
    def record(self) -> Path:
        """Names the wheel that was built here, with its hash."""
        return self.folder / "built"

    def kept(self) -> tuple[Path, str] | None:
        """The wheel that was built here before, and its sha256, when it is still that very file."""
        if not is_trusted(self.record):  # not there, or not surely ours
            return None
        with open_trusted(self.record) as file:
            sha256, _, name = file.read(1000).decode("utf-8", "replace").strip().partition("  ")
        wheel = self.out / PurePath(name).name
        fits = wheel.is_file() and not wheel.is_symlink() and hash_of(wheel) == sha256
        return (wheel, sha256) if fits else None

    def keep(self, wheel: Path) -> str:
        """Record what was built; its sha256."""
        sha256 = hash_of(wheel)
        write_whole(self.record, f"{sha256}  {wheel.name}\n")
        return sha256


def unpack(archive: Path, workshop: Workshop) -> Path:
    """The source tree, unpacked once: a second call gives the tree with the objects of the first build.

    Raises:
        InstallFailed: damaged, or an archive that wants to write elsewhere.
    """
    make_private(workshop.folder)
    done = workshop.folder / "unpacked"
    if not (done.exists() and is_trusted(done) and is_trusted(workshop.source)):
        shutil.rmtree(workshop.source, ignore_errors=True)
        workshop.source.mkdir(parents=True)
        try:
            extract(archive, workshop.source)
        except BadArchive as error:
            message = f"{archive.name} could not be unpacked"
            raise InstallFailed(message, evidence=(str(error),)) from error
        done.touch()
    trees = [path for path in workshop.source.iterdir() if path.is_dir()]
    if len(trees) != 1:
        message = f"{archive.name} holds {len(trees)} folders, one was expected"
        raise InstallFailed(message)
    return trees[0]


@dataclass
class Progress:
    """Reads ninja's `[n/m]` out of what a build prints, which may come in pieces."""

    tick: Callable[[int, int | None], None]
    rest: bytes = b""
    seen: tuple[int, int] = field(default=(0, 0))

    def __call__(self, piece: bytes) -> None:
        text = self.rest + piece
        for match in _STEP.finditer(text):
            self.seen = int(match[1]), int(match[2])
            self.tick(*self.seen)
        self.rest = text[-32:]


def compile_wheel(
    tree: Path,
    workshop: Workshop,
    target: Target,
    runner: Runner,
    settings: Mapping[str, str],
    tick: Callable[[int, int | None], None],
) -> tuple[Path, str]:
    """The wheel and its sha256, compiled by the target's interpreter against the target's torch.

    Args:
        tree: the unpacked source.
        workshop: where it is built.
        target: its interpreter runs setup.py; nothing is written into it.
        runner: starts it.
        settings: environment variables of the build.
        tick: told the compiled and all files.

    Raises:
        InstallFailed: with the last lines of the build; what was compiled is kept for the next try.
    """
    workshop.clear_out()
    command = Command(
        argv=(str(target.python), "-c", _BUILD, str(workshop.out)),
        timeout=TIMEOUT,
        environment={**tool_environment(os.environ), **settings},
        cwd=tree,
        watch=Progress(tick),
    )
    try:
        done = runner.run(command)
    except TimedOut as error:
        raise _failed(tree, error.stdout.decode(errors="replace"), error.message) from error
    if done.returncode:
        raise _failed(tree, done.text + done.errors, f"exit code {done.returncode}")
    found = sorted(workshop.out.glob("*.whl"))
    if len(found) != 1:
        raise _failed(tree, done.text, f"{len(found)} wheels came out")
    return found[0], workshop.keep(found[0])


def _failed(tree: Path, text: str, how: str) -> InstallFailed:
    """The line that says it best comes first: a compiler's error, else the end."""
    lines = [line for line in secrets(text).splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line or "fatal" in line.lower()]
    message = f"{tree.name} could not be compiled ({how})"
    advice = "What was compiled is kept: after mending the cause, `flash-doctor fix` goes on from there."
    return InstallFailed(message, evidence=[*errors[:3], *lines[-_LAST_LINES:]], advice=advice)
