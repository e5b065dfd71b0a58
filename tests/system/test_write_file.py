"""Files that the user names: written whole, in the mode that they had, and never through another user's link."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flash_doctor.system.files import write_file
from users import SOURCE, STRANGER, as_root, meeting_place, python_as

WRITES = (
    "import sys; from pathlib import Path; from flash_doctor.system.files import write_file; "
    "write_file(Path(sys.argv[1]), 'new')"
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("before", [0o600, 0o640, 0o644, 0o664, 0o400])
def test_the_mode_of_what_is_replaced_is_kept(tmp_path: Path, before: int) -> None:
    file = tmp_path / "report.json"
    file.write_text("old")
    file.chmod(before)
    write_file(file, "new")
    assert (file.read_text(), mode(file)) == ("new", before)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(("mask", "made"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_gets_what_the_umask_leaves(tmp_path: Path, mask: int, made: int) -> None:
    before = os.umask(mask)
    try:
        write_file(tmp_path / "report.json", "new")
    finally:
        os.umask(before)
    assert mode(tmp_path / "report.json") == made


def test_our_own_links_are_followed_and_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "way").symlink_to("deep/er")
    (tmp_path / "deep" / "back").symlink_to("../deep/er")
    (tmp_path / "report.json").symlink_to("way/../back/final.json")
    monkeypatch.chdir(tmp_path)
    for name in ("report.json", "./report.json", "deep/../report.json", str(tmp_path / "report.json")):
        write_file(Path(name), name)
        assert (tmp_path / "deep" / "er" / "final.json").read_text() == name
        assert (tmp_path / "report.json").is_symlink()


@pytest.mark.parametrize("target", ["itself", "gone/x.json", "report-2"])
def test_links_in_a_circle_and_into_nowhere_are_errors(tmp_path: Path, target: str) -> None:
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "report-2").symlink_to("report-3")
    (tmp_path / "report-3").symlink_to("report-2")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(OSError, match=r"Too many levels|No such file"):
        write_file(tmp_path / "link", "new")
    assert not (tmp_path / "gone").exists()


def test_a_link_to_nothing_yet_makes_the_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new.json")
    write_file(tmp_path / "link", "new")
    assert (tmp_path / "new.json").read_text() == "new"


def test_a_draft_that_somebody_waits_for_is_not_written_to(tmp_path: Path) -> None:
    """Its name was made of the process's number; a link of that name was written through."""
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / f".report.json.{os.getpid()}").symlink_to(precious)
    write_file(tmp_path / "report.json", "new")
    assert precious.read_text() == "kept"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_file(tmp_path / "pipe", "text")
    reader.join(10)
    assert got == ["text"]


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_stdout_by_its_name(place: str, tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(SOURCE)}
    piped = subprocess.run([sys.executable, "-c", WRITES, place], env=environ, capture_output=True, text=True)
    assert (piped.stdout, piped.stderr) == ("new", "")
    with (tmp_path / "out").open("w") as file:
        subprocess.run([sys.executable, "-c", WRITES, place], env=environ, stdout=file, check=True)
    assert (tmp_path / "out").read_text() == "new"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / ".", tmp_path / "x" / "..", Path("/")):
        with pytest.raises(OSError, match=r"directory"):
            write_file(path, "new")


# -- another user's


@as_root
@pytest.mark.parametrize("sticky", [0o1777, 0o777, 0o755])
def test_another_users_link_is_refused(tmp_path: Path, sticky: int) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    precious.chmod(0o600)
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(sticky)
    (place / "report.json").symlink_to(precious)
    (place / "way").symlink_to(tmp_path)
    (tmp_path / "mine").symlink_to("place/way")
    for link in ("report.json", "way"):
        os.chown(place / link, STRANGER, STRANGER, follow_symlinks=False)
    for path in (
        place / "report.json",
        place / "way" / "precious",
        place / "way" / "new",
        tmp_path / "mine" / "precious",
    ):
        with pytest.raises(PermissionError, match="another user"):
            write_file(path, "new")
    assert (precious.read_text(), mode(precious)) == ("kept", 0o600)
    assert not (tmp_path / "new").exists()


@as_root
def test_another_users_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    """He would hold a cron job of root's for ever, or read along."""
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o1777)
    os.mkfifo(place / "report.json")
    os.chown(place / "report.json", STRANGER, STRANGER)
    (tmp_path / "mine").symlink_to(place / "report.json")
    done = subprocess.run(
        [sys.executable, "-c", WRITES, str(tmp_path / "mine")], env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert "PermissionError" in done.stderr
    assert "a pipe of another user's" in done.stderr


@as_root
def test_root_writes_into_another_users_folder_where_no_link_misleads(tmp_path: Path) -> None:
    os.chown(tmp_path, STRANGER, STRANGER)
    write_file(tmp_path / "report.json", "new")
    assert (tmp_path / "report.json").read_text() == "new"


@as_root
def test_the_mode_of_another_users_file_is_not_taken_over(tmp_path: Path) -> None:
    """He would be let in again: 0666 in /tmp, made beforehand."""
    file = tmp_path / "report.json"
    file.write_text("bait")
    file.chmod(0o666)
    os.chown(file, STRANGER, STRANGER)
    before = os.umask(0o077)
    try:
        write_file(file, "new")
    finally:
        os.umask(before)
    assert (file.stat().st_uid, mode(file), file.read_text()) == (os.geteuid(), 0o600, "new")


@as_root
def test_a_device_behind_another_users_link_is_not_written_to() -> None:
    with meeting_place() as folder:
        (folder / "report.json").symlink_to("/dev/full")
        with pytest.raises(OSError, match="No space left"):
            write_file(folder / "report.json", "new")
        os.chown(folder / "report.json", STRANGER, STRANGER, follow_symlinks=False)
        with pytest.raises(PermissionError, match="another user"):
            write_file(folder / "report.json", "new")


@as_root
def test_a_user_follows_his_own_links_and_roots_in_a_sticky_folder() -> None:
    with meeting_place() as folder:
        folder.chmod(0o1777)
        (folder / "his").mkdir()
        os.chown(folder / "his", STRANGER, STRANGER)
        for name, owner in (("own", STRANGER), ("roots", 0)):
            (folder / name).symlink_to(f"his/{name}.json")
            os.chown(folder / name, owner, owner, follow_symlinks=False)
            python_as(STRANGER, WRITES, folder / name)
            assert (folder / "his" / f"{name}.json").read_text() == "new"
        os.chown(folder / "own", STRANGER + 1, -1, follow_symlinks=False)
        with pytest.raises(AssertionError, match="another user"):
            python_as(STRANGER, WRITES, folder / "own")
