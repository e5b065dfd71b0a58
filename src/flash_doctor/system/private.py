"""Folders whose content we believe when we find it again: made for us alone, and proved to be so before use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.system.owner import can_hold, demand_trusted
from flash_doctor.system.paths import cache_folder, current_folder
from flash_doctor.system.scratch import run_folder

if TYPE_CHECKING:
    from collections.abc import Mapping


def make_private(folder: Path) -> Path:
    """The folder, made with mode 0700 where it is missing, whatever the umask; links of ours on the way are followed.

    Raises:
        BadInput: somebody else could have written it, or can put another in its place.
        OSError: it cannot be made.
    """
    whole = current_folder() / folder
    for step in reversed((whole, *whole.parents)):
        if not step.exists():
            _make(step)
    demand_private(whole)
    return whole


def demand_private(folder: Path) -> None:
    """Prove a folder; one that is not there yet is as good as its place.

    Raises:
        BadInput: as in `make_private`.
    """
    whole = current_folder() / folder
    there = next(step for step in (whole, *whole.parents) if os.path.lexists(step))
    if not can_hold(there):  # over links: each must be ours
        demand_trusted(there.resolve())
        message = f"{there} is not believed: others can put another folder in its place"
        raise BadInput(message)
    if there == whole:
        demand_trusted(whole.resolve())


def settle_cache(environ: Mapping[str, str]) -> tuple[Path, str]:
    """The cache of this run, and why it is not the one that was named, or nothing.

    In its place comes the one of the user's home; where that is no better, one that is gone with this run.
    """
    named = current_folder() / cache_folder(environ)
    why = _why_not(named)
    if not why:
        return named, ""
    at_home = current_folder() / cache_folder(
        {name: value for name, value in environ.items() if name != "FLASH_DOCTOR_CACHE"}
    )
    if at_home != named and not _why_not(at_home):
        return at_home, f"the cache {named} is not used: {why}; {at_home} is, in its place"
    # where not even that can be made: a place that never holds anything
    instead = run_folder() or Path(os.devnull)
    return instead / "cache", f"the cache {named} is not used: {why}; what is fetched is not kept"


def _why_not(folder: Path) -> str:
    try:
        demand_private(folder)
        there = next(step for step in (folder, *folder.parents) if step.exists())
        if there != folder and not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            return f"it cannot be made in {there}"
    except BadInput as refused:
        return "; ".join(refused.evidence) or refused.message
    except OSError as error:
        return f"{folder} cannot be looked at: {error.strerror}"
    return ""


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:  # somebody else was quicker; whether it was one of us is proved afterwards
        return
    folder.chmod(0o700)
