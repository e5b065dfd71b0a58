"""Whose files are believed: by owner, by mode, by every folder above them; with real users where the tests are root."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from flash_doctor.errors import BadInput
from flash_doctor.system.owner import demand_trusted, is_trusted, open_trusted
from users import STRANGER, as_root, meeting_place, python_as

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOBODY = 2**32 - 1
PRIVATE: tuple[tuple[tuple[str, ...], str, bool], ...] = (
    ((), "ada", True),
    (("ada",), "ada", True),
    (("bob",), "ada", False),
    ((), "lab", False),
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a file in it, nobody else's whatever the umask is."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    folder.chmod(0o700)
    file = folder / "built"
    file.write_text("abc")
    file.chmod(0o644)
    return file


def test_what_is_ours_alone_is_believed(place: Path) -> None:
    demand_trusted(place)
    assert is_trusted(place.parent)
    with open_trusted(place) as file:
        assert file.read() == b"abc"


@pytest.mark.parametrize("mode", [0o666, 0o646, 0o602])
def test_a_file_that_others_may_write_is_refused(place: Path, mode: int) -> None:
    place.chmod(mode)
    with pytest.raises(BadInput, match="somebody else") as raised:
        demand_trusted(place)
    assert "others may write" in raised.value.evidence[0]
    assert raised.value.advice
    with pytest.raises(BadInput):
        open_trusted(place)


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o703])
def test_a_folder_above_that_others_may_write_is_refused(place: Path, mode: int) -> None:
    place.parent.chmod(mode)
    assert not is_trusted(place)
    assert is_trusted(place, below=place.parent)


def test_a_folder_with_the_sticky_bit_is_no_danger_to_what_lies_in_it(place: Path) -> None:
    place.parent.chmod(0o1777)
    assert is_trusted(place)
    assert not is_trusted(place.parent)


def test_the_group_may_write_only_where_it_is_the_owner_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.chmod(0o664)
    for members, name, believed in PRIVATE:
        _make_group_private(place, monkeypatch, members, name)
        assert is_trusted(place) is believed, (members, name)


def test_an_access_list_lets_others_in_though_the_group_is_private(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `setfacl -m u:12345:rw` writes it: a version, then (kind, rights, user) of each entry."""
    _make_group_private(place, monkeypatch)
    entries = ((1, 6, NOBODY), (2, 6, STRANGER), (4, 4, NOBODY), (16, 6, NOBODY), (32, 4, NOBODY))
    try:
        packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
        os.setxattr(place, "system.posix_acl_access", packed)
    except OSError:
        pytest.skip("this file system has no access lists")
    assert place.stat().st_mode & 0o777 == 0o664
    assert not is_trusted(place)
    os.removexattr(place, "system.posix_acl_access")
    place.chmod(0o664)
    assert is_trusted(place)


def _make_group_private(
    place: Path, monkeypatch: pytest.MonkeyPatch, members: Sequence[str] = (), name: str = "ada"
) -> None:
    import grp
    import pwd

    status = place.stat()
    user = pwd.struct_passwd(("ada", "x", status.st_uid, status.st_gid, "", "/", "/bin/sh"))
    group = grp.struct_group((name, "x", status.st_gid, list(members)))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: user)
    monkeypatch.setattr(grp, "getgrgid", lambda _: group)


def test_a_link_is_not_followed_at_the_end_but_on_the_way(place: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(place)
    assert not is_trusted(link)
    with pytest.raises(BadInput):
        open_trusted(link)
    way = tmp_path / "way"
    way.symlink_to("cache")
    assert is_trusted(way / "built")
    assert not is_trusted(way / "built", below=tmp_path)


def test_behind_a_link_two_dots_lead_where_the_kernel_goes(place: Path, tmp_path: Path) -> None:
    """`way/..` is deep/, not the folder that holds `way`."""
    (tmp_path / "deep" / "inner").mkdir(parents=True)
    (tmp_path / "deep").chmod(0o777)
    (tmp_path / "way").symlink_to(tmp_path / "deep" / "inner")
    (tmp_path / "deep" / "built").write_text("")
    (tmp_path / "built").write_text("")
    assert not is_trusted(tmp_path / "way" / ".." / "built")


def test_a_folder_below_cannot_be_left(place: Path, tmp_path: Path) -> None:
    assert not is_trusted(place.parent / ".." / "cache" / "built", below=place.parent)
    assert not is_trusted(place, below=tmp_path / "elsewhere")


def test_links_in_a_circle_and_what_is_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for path in (tmp_path / "a" / "x", tmp_path / "missing"):
        assert not is_trusted(path)
        with pytest.raises(BadInput, match="cannot be looked at"):
            demand_trusted(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(BadInput):
        open_trusted(tmp_path / "pipe")


@as_root
def test_a_file_of_a_stranger_is_refused_and_of_a_named_user_is_not(place: Path) -> None:
    os.chown(place, STRANGER, STRANGER)
    with pytest.raises(BadInput) as raised:
        demand_trusted(place)
    assert f"uid {STRANGER}" in raised.value.evidence[0]
    assert is_trusted(place, also=frozenset({STRANGER}))
    with open_trusted(place, also=frozenset({STRANGER})) as file:
        assert file.read() == b"abc"


@as_root
def test_a_folder_or_a_link_of_a_stranger_on_the_way_is_refused(place: Path, tmp_path: Path) -> None:
    link = tmp_path / "way"
    link.symlink_to("cache")
    assert is_trusted(link / "built")
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    assert not is_trusted(link / "built")
    os.chown(place.parent, STRANGER, STRANGER)
    assert not is_trusted(place)


@as_root
def test_roots_files_are_believed_by_a_user_and_a_strangers_are_not() -> None:
    asked = (
        "import sys, pathlib; from flash_doctor.system.owner import is_trusted as ask; "
        "print(ask(pathlib.Path(sys.argv[1])))"
    )
    with meeting_place() as folder:
        file = folder / "built"
        file.write_text("abc")
        file.chmod(0o644)
        for owner, believed in ((0, "True"), (STRANGER, "True"), (STRANGER + 1, "False")):
            os.chown(file, owner, owner)
            assert python_as(STRANGER, asked, file) == believed, owner
