"""The journal of one swap: everything it will touch, written and synced before the first file moves.

Undo needs the journal alone, may be repeated, and may itself be killed at any point:

* a path that goes out lies in `old/<number>` from its rename until undo renames it back;
* a path that comes in and was not there before is deleted by undo wherever it is found;
* folders made are removed when empty, folders removed are made again with their mode.

The journal lives in the target (`<site-packages>/.flash-doctor/`), on one file system with what it moves, so
that any later command finds it whatever user or cache folder it runs with. Its paths are written relative to that
folder of packages: a copy of the environment, or a renamed one, is brought back itself, and never the original.
"""

from __future__ import annotations

import glob
import json
import shutil
from typing import TYPE_CHECKING

from flash_doctor.codec import encode
from flash_doctor.errors import BadInput
from flash_doctor.install.files import half_copied, is_there, move, remove_if_empty, sync_folders, write_whole
from flash_doctor.install.journal_text import FILE_MODE, FOLDER_MODE, Swap, accept, read_claim, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_JOURNAL, DONE = "journal.json", "done"


class Journal:
    """A swap on disk in `folder`: `journal.json`, the outgoing files under `old/`, and `done` once it is proved."""

    def __init__(self, folder: Path, swap: Swap) -> None:
        self.folder, self.swap = folder, swap
        self.old = folder / "old"

    @classmethod
    def write(cls, folder: Path, swap: Swap) -> Journal:
        """Promise the swap: after this returns, `undo` can bring back the present whatever happens."""
        journal = cls(folder, swap)
        site = folder.parents[1]
        for place in (folder.parent, folder, journal.old):
            place.mkdir(parents=True, exist_ok=place == folder.parent)
            place.chmod(FOLDER_MODE)
        write_whole(folder / _JOURNAL, json.dumps(encode(written(swap, site))), mode=FILE_MODE)
        sync_folders((folder, journal.old))
        return journal

    @classmethod
    def read(cls, folder: Path, prefix: Path) -> Journal:
        """The journal in a folder of an environment whose prefix that is.

        Raises:
            BadInput: it is not readable as a journal, or not believed; nothing may be changed then.
        """
        return cls(folder, accept(read_claim(folder / _JOURNAL), folder, prefix))

    @property
    def done(self) -> bool:
        return (self.folder / DONE).exists()

    def apply(self, tick: Callable[[int, int | None], None] = lambda *_: None) -> None:
        """Move the outgoing files away and the arriving ones in, then sync the names to the disk.

        `tick` is told the files that were moved, and all of them.
        """
        gone = len(self.swap.outgoing)
        whole = gone + len(self.swap.arriving)
        for number, path in enumerate(self.swap.outgoing):
            move(path, self._kept(number))
            tick(number + 1, whole)
        for folder in self.swap.made:
            folder.mkdir(exist_ok=True)
        for number, arrival in enumerate(self.swap.arriving, gone + 1):
            move(arrival.staged, arrival.path)
            tick(number, whole)
        for left in self.swap.emptied:
            remove_if_empty(left.path)
        sync_folders(self.swap.folders_touched())

    def finish(self) -> None:
        """Keep the new state: from now on only `doctor rollback` undoes it."""
        write_whole(self.folder / DONE, "", mode=FILE_MODE)

    def undo(self) -> None:
        """Bring back the state before `apply`; safe to repeat, after a crash at any point of either."""
        (self.folder / DONE).unlink(missing_ok=True)
        for left in self.swap.emptied:
            left.path.mkdir(parents=True, exist_ok=True)
            left.path.chmod(left.mode)
        for path in (*self.swap.outgoing, *(arrival.path for arrival in self.swap.arriving)):
            half_copied(path).unlink(missing_ok=True)
        for arrival in self.swap.arriving:
            if not arrival.replaces:
                arrival.path.unlink(missing_ok=True)
                _drop_bytecode(arrival.path)
        for number, path in enumerate(self.swap.outgoing):
            if is_there(self._kept(number)):
                move(self._kept(number), path)
        for folder in reversed(self.swap.made):
            remove_if_empty(folder)
        sync_folders(self.swap.folders_touched())
        self.forget()

    def forget(self) -> None:
        """Drop the journal and what it keeps; the journal itself goes last, for a crash in between."""
        for path in sorted(self.folder.iterdir(), key=lambda path: path.name == _JOURNAL):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        self.folder.rmdir()

    def drop(self) -> None:
        """Give up what `rollback` would need; the journal goes first, so that nobody undoes half of it."""
        (self.folder / _JOURNAL).unlink()
        shutil.rmtree(self.folder)

    def size_kept(self) -> int:
        """Bytes of the old files, which `rollback` needs; none after an undo that was cut off while it tidied."""
        return sum(path.lstat().st_size for path in self.old.iterdir()) if self.old.is_dir() else 0

    def lost(self) -> tuple[Path, ...]:
        """Paths of a finished swap whose old file is not kept any more, so that nobody could bring it back."""
        outgoing = enumerate(self.swap.outgoing)
        return tuple(path for number, path in outgoing if not is_there(self._kept(number)))

    def _kept(self, number: int) -> Path:
        return self.old / str(number)


def _drop_bytecode(source: Path) -> None:
    """Delete what an import since the swap compiled from a file that goes away again."""
    if source.suffix == ".py":
        cache = source.parent / "__pycache__"
        for compiled in cache.glob(f"{glob.escape(source.stem)}.*.pyc"):
            compiled.unlink(missing_ok=True)
        remove_if_empty(cache)


def journals(state: Path, prefix: Path) -> Iterator[Journal]:
    """Every journal in the state folder of a target with that prefix, oldest first; names are sortable times.

    Raises:
        BadInput: the folder, or one in it, is a link or a file of somebody else's; or a journal is not believed.
    """
    if not is_there(state):
        return
    _demand_folder(state)
    for folder in sorted(state.iterdir()):
        if is_there(folder / _JOURNAL):
            _demand_folder(folder)
            yield Journal.read(folder, prefix)


def _demand_folder(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        message = f"{path} should be a folder of flash-doctor's, and is a file or a link"
        raise BadInput(message, advice="Move it away, then try again.")


def unfinished(state: Path, prefix: Path) -> Journal | None:
    """The journal of a fix that was cut off, which must be undone before anything else is changed."""
    return next((journal for journal in journals(state, prefix) if not journal.done), None)


def tidy(state: Path) -> None:
    """Delete what a killed fix left in the state folder without a journal, and the folder itself once it is empty."""
    if not state.is_dir():
        return
    for path in state.iterdir():
        if path.is_dir() and not path.is_symlink():
            if not (path / _JOURNAL).exists():
                shutil.rmtree(path)
        else:
            path.unlink()
    remove_if_empty(state)
