"""The journal, killed at every call that changes the disk, in the swap and again in its undoing."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from flash_doctor.errors import BadInput
from flash_doctor.install.journal import FOLDER, Arrival, Journal, LeftFolder, Swap, journals, tidy, unfinished
from trees import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}
KILLED = 86


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Old files, one of them shared, one in a folder that the swap leaves empty, one a dangling link."""
    site = tmp_path / "site-packages"
    write(site / "flash_attn" / "__init__.py", "old")
    write(site / "flash_attn" / "cute" / "other.py", "somebody else's")
    write(site / "old_only" / "gone.py", "old").chmod(0o755)
    (site / "old_only").chmod(0o750)
    (site / "flash_attn" / "link").symlink_to("/nonexistent")
    write(site / "torch" / "version.py", "untouched")
    return site


def stage(site: Path) -> Swap:
    """A swap that replaces, removes, adds, makes a folder and empties one."""
    staged = site / FOLDER / "stage"
    new = write(staged / "a", "new")
    added = write(staged / "b", "added")
    package = site / "flash_attn"
    return Swap(
        title="flash-attn 1 -> 2",
        outgoing=(package / "__init__.py", package / "link", site / "old_only" / "gone.py"),
        arriving=(
            Arrival(staged=new, path=package / "__init__.py", replaces=True),
            Arrival(staged=added, path=site / "fresh" / "deep" / "b.py", replaces=False),
        ),
        made=(site / "fresh", site / "fresh" / "deep"),
        emptied=(LeftFolder(path=site / "old_only", mode=0o750),),
    )


def swap_it(site: Path) -> None:
    journal = Journal.write(site / FOLDER / "1", stage(site))
    journal.apply()
    journal.finish()


def recover(site: Path) -> None:
    cut_off = unfinished(site / FOLDER, site.parent)
    if cut_off:
        cut_off.undo()
    tidy(site / FOLDER)


def killed_at(number: int, work: Callable[[Path], None], site: Path) -> bool:
    """Run `work` in a child that dies just before its `number`-th change of the disk; whether it died."""
    child = os.fork()
    if child == 0:
        left = [number]

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_CREAT | os.O_WRONLY)
            if event in CHANGES or writes:
                left[0] -= 1
                if left[0] == 0:
                    os._exit(KILLED)

        sys.addaudithook(hook)
        work(site)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def test_the_swap_does_what_it_says_and_undo_brings_everything_back(site: Path) -> None:
    before = snapshot(site)
    swap_it(site)
    assert (site / "flash_attn" / "__init__.py").read_text() == "new"
    assert (site / "fresh" / "deep" / "b.py").read_text() == "added"
    assert (site / "flash_attn" / "cute" / "other.py").exists()
    assert not (site / "old_only").exists()
    assert unfinished(site / FOLDER, site.parent) is None
    (journal,) = journals(site / FOLDER, site.parent)
    journal.undo()
    tidy(site / FOLDER)
    assert snapshot(site) == before


def test_killed_anywhere_the_state_is_the_old_one_or_the_new_one(site: Path) -> None:
    before = snapshot(site)
    number = 1
    while killed_at(number, swap_it, site):
        recover(site)
        assert snapshot(site) == before, f"killed before change {number}"
        number += 1
    assert number > 15, "the kill switch saw too few changes to be believed"


def test_killed_again_while_recovering(site: Path) -> None:
    before = snapshot(site)
    number = 1
    while killed_at(number, swap_it, site):
        again = 1
        while killed_at(again, recover, site):
            again += 1
        recover(site)
        assert snapshot(site) == before, f"killed before change {number}, recovery killed {again - 1} times"
        number += 1


def test_what_python_compiled_since_goes_with_its_source(site: Path) -> None:
    before = snapshot(site)
    swap_it(site)
    write(site / "fresh" / "deep" / "__pycache__" / "b.cpython-311.pyc", "compiled")
    (journal,) = journals(site / FOLDER, site.parent)
    journal.undo()
    tidy(site / FOLDER)
    assert snapshot(site) == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"title": 1}'])
def test_a_damaged_journal_stops_everything(site: Path, text: str) -> None:
    write(site / FOLDER / "1" / "journal.json", text)
    with pytest.raises(BadInput, match="cannot be read"):
        unfinished(site / FOLDER, site.parent)
    tidy(site / FOLDER)
    assert (site / FOLDER / "1" / "journal.json").exists(), "what cannot be read is not thrown away"
