"""Compile a source distribution in a folder of ours, so that a second run goes on where the first one ended.

The source is unpacked once and kept; ninja finds its objects again. What setup.py needs beside torch is named by the
caller's settings (PYTHONPATH, PATH), and never lies in the target.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.command import Command
from flash_doctor.errors import InstallFailed, TimedOut
from flash_doctor.system.archive import BadArchive, extract
from flash_doctor.system.programs import tool_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_doctor.command import Runner
    from flash_doctor.model import Target

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
        self.out.mkdir(parents=True)

    @property
    def wheel(self) -> Path | None:
        """What was built here before."""
        return next(iter(sorted(self.out.glob("*.whl"))), None) if (self.folder / "built").exists() else None


def unpack(archive: Path, workshop: Workshop) -> Path:
    """The source tree, unpacked once: a second call gives the tree with the objects of the first build.

    Raises:
        InstallFailed: damaged, or an archive that wants to write elsewhere.
    """
    done = workshop.folder / "unpacked"
    if not done.exists():
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
) -> Path:
    """The wheel, compiled by the target's interpreter against the target's torch.

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
    (workshop.folder / "built").touch()
    return found[0]


def _failed(tree: Path, text: str, how: str) -> InstallFailed:
    """The line that says it best comes first: a compiler's error, else the end."""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line or "fatal" in line.lower()]
    message = f"{tree.name} could not be compiled ({how})"
    advice = "What was compiled is kept: after mending the cause, flash-doctor fix goes on from there."
    return InstallFailed(message, evidence=[*errors[:3], *lines[-_LAST_LINES:]], advice=advice)
