"""Folders of this run: where the doctor keeps what it may lose, and where and how it was called."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def cache_folder(environ: Mapping[str, str]) -> Path:
    """FLASH_DOCTOR_CACHE, else flash-doctor in XDG_CACHE_HOME, else in ~/.cache; it need not exist yet."""
    if chosen := environ.get("FLASH_DOCTOR_CACHE"):
        return Path(chosen)
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "flash-doctor"


def data_folder(environ: Mapping[str, str]) -> Path:
    """FLASH_DOCTOR_DATA, else flash-doctor in XDG_DATA_HOME, else in ~/.local/share: what must not be lost."""
    if chosen := environ.get("FLASH_DOCTOR_DATA"):
        return Path(chosen)
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "flash-doctor"


def facts_folder(environ: Mapping[str, str]) -> Path:
    """FLASH_DOCTOR_FACTS, else `wheel_matrix` inside the installed package, else beside `src` in a checkout."""
    if chosen := environ.get("FLASH_DOCTOR_FACTS"):
        return Path(chosen)
    package = Path(__file__).parents[1]
    installed = package / "wheel_matrix"
    return installed if installed.is_dir() else package.parents[1] / "wheel_matrix"


def current_folder() -> Path:
    """Where we were called; a path that holds nothing when that folder was deleted meanwhile."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path(os.devnull)


def program(environ: Mapping[str, str], words: Sequence[str] | None = None) -> tuple[str, ...]:
    """How the user calls us: `doctor`, `.venv/bin/flash-doctor`, `python -m flash_doctor`.

    `words` is the command line of this process. scripts/doctor says that it was called, since `flash-doctor` is then
    not on PATH; who calls our code in another manner is told `flash-doctor`.
    """
    if told := environ.get("FLASH_DOCTOR_PROGRAM"):
        return (told,)
    from flash_doctor.system.programs import find_program  # which asks us for the current folder

    words = sys.orig_argv if words is None else words
    for at, word in enumerate(words[:8]):
        if words[at : at + 2] == ["-m", "flash_doctor"]:
            return (*words[: at + 2],)
        name = os.path.basename(word)  # noqa: PTH119 a path as it was typed
        if at and name in {"doctor", "flash-doctor"}:
            # the shell looks a bare name up, and gives the path that it found
            return (name,) if find_program(name, environ.get("PATH", os.defpath)) == Path(word) else (word,)
        if at and not word.startswith("-"):
            break
    return ("flash-doctor",)
