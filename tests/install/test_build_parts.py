"""The parts of a source build that need no compiler: unpacking what may be hostile, and reading what ninja says."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from fakes import TableRunner, printed
from flash_doctor.errors import InstallFailed
from flash_doctor.install.compile import Progress, Workshop, compile_wheel, unpack
from flash_doctor.install.fetch import hash_of
from flash_doctor.model import Target

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.system.process import Command, Completed


def archive(folder: Path, *names: str) -> Path:
    path = folder / "x-1.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 1
            tar.addfile(entry, io.BytesIO(b"x"))
    return path


def test_unpacked_once_so_that_objects_stay(tmp_path: Path) -> None:
    workshop = Workshop(folder=tmp_path / "shop")
    tree = unpack(archive(tmp_path, "x-1/setup.py"), workshop)
    (tree / "object.o").touch()
    assert unpack(archive(tmp_path, "x-1/setup.py"), workshop) == tree
    assert (tree / "object.o").exists()


@pytest.mark.parametrize("names", [("../evil",), ("x/../../evil",), ("a/x", "b/x"), ()])
def test_hostile_or_odd_archives_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(InstallFailed):
        unpack(archive(tmp_path, *names), Workshop(folder=tmp_path / "shop"))
    assert not (tmp_path / "evil").exists()


def test_a_truncated_archive_is_refused_and_may_come_again(tmp_path: Path) -> None:
    path, workshop = archive(tmp_path, "x-1/setup.py"), Workshop(folder=tmp_path / "shop")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InstallFailed, match="could not be unpacked"):
        unpack(path, workshop)
    path.write_bytes(whole)
    assert (unpack(path, workshop) / "setup.py").exists()


def test_a_kept_wheel_is_the_one_that_was_built(tmp_path: Path) -> None:
    workshop = Workshop(folder=tmp_path / "shop")
    workshop.clear_out()
    wheel = workshop.out / "x-1-py3-none-any.whl"
    wheel.write_bytes(b"built here")
    assert workshop.kept() is None, "nobody said that it was finished"
    (workshop.folder / "built").touch()
    assert workshop.kept() is None, "an empty marker says nothing of the file"
    sha256 = workshop.keep(wheel)
    assert workshop.kept() == (wheel, sha256)
    wheel.write_bytes(b"put there")
    assert workshop.kept() is None
    wheel.write_bytes(b"built here")
    assert workshop.kept() == (wheel, sha256)
    workshop.record.chmod(0o666)
    assert workshop.kept() is None, "others could have written the record"


def test_a_name_in_the_record_leads_nowhere_else(tmp_path: Path) -> None:
    workshop = Workshop(folder=tmp_path / "shop")
    workshop.clear_out()
    (tmp_path / "evil.whl").write_bytes(b"x")
    workshop.record.write_text(f"{hash_of(tmp_path / 'evil.whl')}  ../../evil.whl\n")
    assert workshop.kept() is None


def test_steps_of_ninja_are_read_from_pieces() -> None:
    told: list[tuple[int, int | None]] = []
    progress = Progress(lambda done, whole: told.append((done, whole)))
    for piece in (b"[1/73] nvcc a.cu\n[2/", b"73] nvcc b.cu\n", b"warning: [unused]\n[73/73] done\n"):
        progress(piece)
    assert list(dict.fromkeys(told)) == [(1, 73), (2, 73), (73, 73)]


def test_a_failing_build_says_the_compilers_word_first(tmp_path: Path) -> None:
    text = "x\n" * 100 + "a.cu(3): error: no instance of function\n" + "y\n" * 100
    seen: list[Command] = []

    def answer(command: Command) -> Completed:
        seen.append(command)
        return printed(text, returncode=1)

    workshop = Workshop(folder=tmp_path / "shop")
    target = Target(python=tmp_path / "python", why="test")
    with pytest.raises(InstallFailed, match="exit code 1") as caught:
        compile_wheel(tmp_path, workshop, target, TableRunner({"python": answer}), {"MAX_JOBS": "3"}, lambda *_: None)
    assert caught.value.evidence[0] == "a.cu(3): error: no instance of function"
    assert workshop.kept() is None
    assert not seen[0].environment.get("PYTHONPATH"), "nothing of the user's gets into a build unasked"
    assert seen[0].environment["MAX_JOBS"] == "3"
