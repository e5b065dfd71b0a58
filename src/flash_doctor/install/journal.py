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
import os
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.codec import decode, encode
from flash_doctor.errors import BadInput
from flash_doctor.install.files import half_copied, is_there, move, remove_if_empty, sync_folders, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = ".flash-doctor"
_JOURNAL, DONE = "journal.json", "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A staged file and the place it goes to; `replaces` when something else is there now (it goes out first)."""

    staged: Path
    path: Path
    replaces: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftFolder:
    """A folder that the swap empties and removes, with its permission bits."""

    path: Path
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One change of an environment: files out, files in, folders made, folders that it leaves empty."""

    title: str
    outgoing: tuple[Path, ...]
    arriving: tuple[Arrival, ...]
    made: tuple[Path, ...]
    emptied: tuple[LeftFolder, ...]

    def each_path(self, change: Callable[[Path], Path]) -> Swap:
        """The same swap with every path changed."""
        return Swap(
            title=self.title,
            outgoing=tuple(map(change, self.outgoing)),
            arriving=tuple(replace(one, staged=change(one.staged), path=change(one.path)) for one in self.arriving),
            made=tuple(map(change, self.made)),
            emptied=tuple(replace(one, path=change(one.path)) for one in self.emptied),
        )

    def folders_touched(self) -> tuple[Path, ...]:
        return (*self.outgoing, *(arrival.path for arrival in self.arriving), *self.made)


class Journal:
    """A swap on disk in `folder`: `journal.json`, the outgoing files under `old/`, and `done` once it is proved."""

    def __init__(self, folder: Path, swap: Swap) -> None:
        self.folder, self.swap = folder, swap
        self.old = folder / "old"

    @classmethod
    def write(cls, folder: Path, swap: Swap) -> Journal:
        """Promise the swap: after this returns, `undo` can bring back the present whatever happens."""
        journal = cls(folder, swap)
        journal.old.mkdir(parents=True)
        site = folder.parents[1]
        write_whole(folder / _JOURNAL, json.dumps(encode(swap.each_path(partial(_relative, site)))))
        sync_folders((folder, journal.old))
        return journal

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """The journal in a folder.

        Raises:
            BadInput: it is not readable as a journal; nothing may be changed then.
        """
        path = folder / _JOURNAL
        try:
            swap = decode(Swap, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError, BadInput) as error:
            message = f"the journal {path} cannot be read: {error}"
            advice = "Nothing is changed while it is there. The files that it moved away lie beside it, under old/."
            raise BadInput(message, advice=advice) from error
        return cls(folder, swap.each_path(partial(_absolute, folder.parents[1])))

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
        write_whole(self.folder / DONE, "")

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


def _relative(site: Path, path: Path) -> Path:
    return Path(os.path.relpath(path, site))


def _absolute(site: Path, path: Path) -> Path:
    """Without `..`, and without following links, which may be the entry itself."""
    return Path(os.path.normpath(site / path))


def _drop_bytecode(source: Path) -> None:
    """Delete what an import since the swap compiled from a file that goes away again."""
    if source.suffix == ".py":
        cache = source.parent / "__pycache__"
        for compiled in cache.glob(f"{glob.escape(source.stem)}.*.pyc"):
            compiled.unlink(missing_ok=True)
        remove_if_empty(cache)


def journals(state: Path) -> Iterator[Journal]:
    """Every journal of a target's state folder, oldest first; names are sortable times."""
    if state.is_dir():
        for folder in sorted(state.iterdir()):
            if (folder / _JOURNAL).exists():
                yield Journal.read(folder)


def unfinished(state: Path) -> Journal | None:
    """The journal of a fix that was cut off, which must be undone before anything else is changed."""
    return next((journal for journal in journals(state) if not journal.done), None)


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
