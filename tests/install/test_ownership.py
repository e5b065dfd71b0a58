"""Owner, group and mode of what comes in: those of what it replaces, or of the folder that it is new in."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from flash_doctor.install.journal import Arrival
from flash_doctor.install.transaction import own_arrivals, own_folders
from users import STRANGER, as_root

if TYPE_CHECKING:
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def arrival(tmp_path: Path, name: str, was: int | None, comes: int) -> Arrival:
    """A file that comes in with one mode in place of one with another, or of none."""
    site, staged = tmp_path / "site", tmp_path / "staged"
    site.mkdir(exist_ok=True)
    staged.mkdir(exist_ok=True)
    (staged / name).write_text("new")
    (staged / name).chmod(comes)
    if was is not None:
        (site / name).write_text("old")
        (site / name).chmod(was)
    return Arrival(staged=staged / name, path=site / name, replaces=was is not None)


@pytest.mark.parametrize(
    ("was", "comes", "becomes"),
    [
        (0o644, 0o600, 0o644),
        (0o664, 0o644, 0o664),
        (0o600, 0o644, 0o600),
        (0o444, 0o644, 0o444),
        (0o666, 0o644, 0o664),
        (0o644, 0o755, 0o755),
        (0o640, 0o700, 0o750),
        (0o755, 0o644, 0o644),
        (0o4755, 0o755, 0o755),
    ],
)
def test_a_file_gets_the_mode_of_the_one_it_replaces(tmp_path: Path, was: int, comes: int, becomes: int) -> None:
    one = arrival(tmp_path, "x", was, comes)
    own_arrivals([one])
    assert mode(one.staged) == becomes


@pytest.mark.parametrize(
    ("folder", "file", "inner"),
    [
        (0o755, 0o644, 0o755),
        (0o2775, 0o664, 0o2775),
        (0o700, 0o600, 0o700),
        (0o750, 0o640, 0o750),
        (0o777, 0o664, 0o775),
    ],
)
def test_what_is_new_is_like_its_folder_whatever_the_umask(tmp_path: Path, folder: int, file: int, inner: int) -> None:
    one = arrival(tmp_path, "x", None, 0o600)
    one.path.parent.chmod(folder)
    deep = Arrival(
        staged=arrival(tmp_path, "y", None, 0o600).staged, path=one.path.parent / "a" / "b" / "y", replaces=False
    )
    own_arrivals([one, deep])
    assert (mode(one.staged), mode(deep.staged)) == (file, file)
    before = os.umask(0o077)
    try:
        deep.path.parent.mkdir(parents=True)
    finally:
        os.umask(before)
    own_folders([deep.path.parent.parent, deep.path.parent])
    assert (mode(deep.path.parent.parent), mode(deep.path.parent)) == (inner, inner)


def test_links_stay_as_they_are(tmp_path: Path) -> None:
    one = arrival(tmp_path, "x", 0o600, 0o644)
    precious = tmp_path / "precious"
    precious.write_text("")
    precious.chmod(0o604)
    one.staged.unlink()
    one.staged.symlink_to(precious)
    own_arrivals([one])
    assert mode(precious) == 0o604


@as_root
def test_root_gives_files_and_folders_to_whom_they_belong(tmp_path: Path) -> None:
    old, new = arrival(tmp_path, "x", 0o644, 0o644), arrival(tmp_path, "y", None, 0o644)
    os.chown(old.path, STRANGER, STRANGER + 1)
    os.chown(old.path.parent, STRANGER + 2, STRANGER + 3)
    own_arrivals([old, new])
    found = [(path.stat().st_uid, path.stat().st_gid) for path in (old.staged, new.staged)]
    assert found == [(STRANGER, STRANGER + 1), (STRANGER + 2, STRANGER + 3)]
    (old.path.parent / "a").mkdir()
    own_folders([old.path.parent / "a"])
    assert (old.path.parent / "a").stat().st_uid == STRANGER + 2
