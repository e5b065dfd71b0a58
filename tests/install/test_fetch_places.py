"""Where a file may lie when it is used: nobody else may exchange it after it was hashed."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from flash_doctor.errors import InstallFailed
from flash_doctor.install.fetch import Sources, WantedFile, fetch
from flash_doctor.system import files
from users import STRANGER, as_root

if TYPE_CHECKING:
    from pathlib import Path

NAME = "einops-0.8.1-py3-none-any.whl"
CONTENT = b"the file that was promised"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def wheelhouse(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    (folder / NAME).write_bytes(CONTENT)
    (folder / NAME).chmod(0o644)
    return folder


def sources(tmp_path: Path, *folders: Path) -> Sources:
    return Sources(cache=tmp_path / "cache", folders=folders, network=False)


@pytest.mark.parametrize("by", ["folder", "address"])
@pytest.mark.parametrize("sha256", [SHA256, None])
def test_of_a_place_that_others_may_write_a_copy_is_used(tmp_path: Path, by: str, sha256: str | None) -> None:
    """pip hashes a wheel and opens it again to unpack it: between the two its owner could exchange it."""
    folder = wheelhouse(tmp_path)
    folder.chmod(0o777)
    url = f"https://h.example/{NAME}" if by == "folder" else (folder / NAME).as_uri()
    given = sources(tmp_path, folder) if by == "folder" else sources(tmp_path)
    found = fetch(WantedFile(url=url, sha256=sha256), given)
    _another(tmp_path).replace(folder / NAME)
    assert found.sha256 == SHA256
    assert found.path.read_bytes() == CONTENT
    assert tmp_path / "cache" in found.path.parents


@as_root
def test_so_it_is_of_another_users_folder(tmp_path: Path) -> None:
    folder = wheelhouse(tmp_path)
    os.chown(folder, STRANGER, STRANGER)
    found = fetch(WantedFile(url=f"https://h.example/{NAME}", sha256=SHA256), sources(tmp_path, folder))
    _another(tmp_path).replace(folder / NAME)
    assert found.path.read_bytes() == CONTENT


def test_our_own_place_is_used_as_it_is(tmp_path: Path) -> None:
    folder = wheelhouse(tmp_path)
    found = fetch(WantedFile(url=f"https://h.example/{NAME}", sha256=SHA256), sources(tmp_path, folder))
    assert found.path == folder / NAME
    assert not (tmp_path / "cache").exists()


def test_a_file_with_holes_that_no_wheel_could_be_is_not_hashed(tmp_path: Path) -> None:
    """A sparse file costs its owner nothing, and us hours."""
    folder = wheelhouse(tmp_path)
    try:
        os.truncate(folder / NAME, files.LARGEST + 1)
    except OSError:
        pytest.skip("this file system has no files of that size")
    with pytest.raises(InstallFailed):
        fetch(WantedFile(url=f"https://h.example/{NAME}", sha256=SHA256), sources(tmp_path, folder))


def _another(tmp_path: Path) -> Path:
    path = tmp_path / "another"
    path.write_bytes(b"another one, put there after it was hashed")
    return path
