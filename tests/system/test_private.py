"""Folders whose content we believe: made for us alone, refused where others could have been there before."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from flash_doctor.errors import BadInput
from flash_doctor.system.private import demand_private, make_private, settle_cache
from users import STRANGER, as_root, meeting_place, python_as

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o027, 0o777])
def test_every_folder_that_is_made_is_ours_alone(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        made = make_private(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    for folder in (made, made.parent, made.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert make_private(made) == made, "a second time"


def test_what_was_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o755)
    make_private(tmp_path / "cache" / "files")
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o755


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o707, 0o703])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    with pytest.raises(BadInput, match="not believed"):
        make_private(shared)


def test_a_new_folder_may_be_made_in_tmp_and_not_where_others_rename(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    make_private(shared / "mine" / "files")
    shared.chmod(0o777)
    for folder in (shared / "mine", shared / "new"):
        with pytest.raises(BadInput):
            make_private(folder)
    assert not (shared / "new" / "files").exists()


def test_links_of_ours_are_followed(tmp_path: Path) -> None:
    """As where a home has little room, and ~/.cache lies on another disk."""
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / ".cache").symlink_to("disk")
    assert make_private(tmp_path / ".cache").is_dir()
    make_private(tmp_path / ".cache" / "flash-doctor")
    assert (tmp_path / "disk" / "flash-doctor").is_dir()


def test_a_place_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        make_private(tmp_path / "file" / "cache")


def test_the_cache_that_was_named_is_used_where_it_is_ours(tmp_path: Path) -> None:
    environ = {"FLASH_DOCTOR_CACHE": str(tmp_path / "new" / "cache"), "HOME": str(tmp_path)}
    assert settle_cache(environ) == (tmp_path / "new" / "cache", "")
    assert list(tmp_path.iterdir()) == [], "nothing is made before it is needed"


def test_in_place_of_a_shared_one_comes_that_of_the_home_and_then_one_of_this_run(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    (tmp_path / "home").mkdir(mode=0o700)
    environ = {"FLASH_DOCTOR_CACHE": str(tmp_path / "shared"), "HOME": str(tmp_path / "home")}
    cache, why = settle_cache(environ)
    assert cache == tmp_path / "home" / ".cache" / "flash-doctor"
    assert "others may write" in why
    assert str(tmp_path / "shared") in why
    (tmp_path / "home").chmod(0o777)
    cache, why = settle_cache(environ)
    assert cache.name == "cache"
    assert tmp_path not in cache.parents
    assert "not kept" in why


def test_a_home_that_is_not_there_leaves_the_cache_of_this_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o600)
    cache, why = settle_cache({"HOME": str(tmp_path / "file" / "home")})
    assert "cannot be" in why
    assert make_private(cache).is_dir()


def test_a_current_folder_that_was_deleted_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert settle_cache({"FLASH_DOCTOR_CACHE": str(tmp_path / "cache")}) == (tmp_path / "cache", "")
    assert make_private(tmp_path / "cache").is_dir()


@as_root
def test_folders_and_links_of_strangers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to("mine")
    demand_private(link)
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(BadInput):
        demand_private(link)
    os.chown(tmp_path / "mine", STRANGER, STRANGER)
    for folder in (tmp_path / "mine", tmp_path / "mine" / "new"):
        with pytest.raises(BadInput):
            make_private(folder)


@as_root
def test_a_cache_that_root_made_for_everybody_to_read_is_used() -> None:
    code = "import os, sys; from flash_doctor.system.private import settle_cache; print(settle_cache(os.environ)[1])"
    with meeting_place() as folder:
        (folder / "cache").mkdir()
        (folder / "cache").chmod(0o755)
        assert python_as(STRANGER, code, FLASH_DOCTOR_CACHE=str(folder / "cache")) == ""
        os.chown(folder / "cache", STRANGER + 1, -1)
        assert f"uid {STRANGER + 1}" in python_as(STRANGER, code, FLASH_DOCTOR_CACHE=str(folder / "cache"))
