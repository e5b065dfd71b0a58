"""A swap, and the text of its journal: what is written down, and what of it is believed when it is read again.

Anybody can put a journal into an environment before somebody else treats it, so what is read is a claim (`accept`): it
is believed when only we, root or the environment's owner could have written it, and of files inside the environment.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.install.files import half_copied, is_there, move, remove_if_empty, sync_folders, write_whole
from flash_doctor.system.bounds import read_json
from flash_doctor.system.codec import decode, encode
from flash_doctor.system.inside import Inside
from flash_doctor.system.owner import open_trusted
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flash_doctor.system.claims import Claimed


FOLDER = ".flash-doctor"
# whatever the umask is: what others could write would not be believed when it is read again
FOLDER_MODE, FILE_MODE = 0o755, 0o644
_LONGEST = 64 << 20  # bytes: ten times a fix that replaces every package of a large environment
_LONGEST_TITLE = 1000
_STRANGERS = (
    "Nothing is changed while it is there. If no fix of yours made it, somebody else did: look at it, then remove the "
    "folder it lies in."
)


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

    def folders_touched(self) -> tuple[Path, ...]:
        return (*self.outgoing, *(arrival.path for arrival in self.arriving), *self.made)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenArrival:
    """An `Arrival` as the journal's text has it."""

    staged: str
    path: str
    replaces: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFolder:
    """A `LeftFolder` as the journal's text has it."""

    path: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A swap as the journal's text has it: paths relative to the folder of packages, or absolute (by older doctors)."""

    title: str
    outgoing: tuple[str, ...]
    arriving: tuple[WrittenArrival, ...]
    made: tuple[str, ...]
    emptied: tuple[WrittenFolder, ...]


def written(swap: Swap, site: Path) -> Written:
    """The swap as its journal has it, with paths relative to the folder of packages."""

    def relative(path: Path) -> str:
        return os.path.relpath(path, site)

    return Written(
        title=swap.title,
        outgoing=tuple(map(relative, swap.outgoing)),
        arriving=tuple(
            WrittenArrival(staged=relative(each.staged), path=relative(each.path), replaces=each.replaces)
            for each in swap.arriving
        ),
        made=tuple(map(relative, swap.made)),
        emptied=tuple(WrittenFolder(path=relative(left.path), mode=left.mode) for left in swap.emptied),
    )


def read_claim(path: Path) -> Claimed[Written]:
    """What a journal says, which only we, root or the owner of the environment could have written.

    Raises:
        BadInput: somebody else could have written it, or it is no journal.
    """
    site = path.parents[2]
    with open_trusted(path, also=frozenset({site.stat().st_uid}), below=site) as file:
        text = file.read(_LONGEST + 1)
    try:
        return decode(Written, read_json(text, limit=_LONGEST, unique=True, origin=str(path)))
    except (ValueError, BadInput) as error:
        message = f"the journal {path} cannot be read: {error}"
        advice = "Nothing is changed while it is there. The files that it moved away lie beside it, under old/."
        raise BadInput(message, advice=advice) from error


def accept(claim: Claimed[Written], folder: Path, prefix: Path) -> Swap:
    """The swap of a journal that lies in `folder`, with absolute paths, all of them proved to lie in the environment.

    Raises:
        BadInput: it speaks of files elsewhere, or of our own; or `old/` is a link.
    """
    written, state = claim.unproved(), folder.parent
    proof = _Proof(Inside(state.parent, prefix))
    ours = _Proof(Inside(state), our_own=True)
    # a folder comes back with its mode, but never wider open than the folder of packages is
    widest = stat.S_IMODE(state.parent.stat().st_mode) | FOLDER_MODE
    swap = Swap(
        title=written.title,
        outgoing=tuple(map(proof.entry, written.outgoing)),
        arriving=tuple(
            Arrival(
                staged=ours.entry(str(state.parent / arrival.staged)),
                path=proof.entry(arrival.path),
                replaces=arrival.replaces,
            )
            for arrival in written.arriving
        ),
        made=tuple(map(proof.folder, written.made)),
        emptied=tuple(LeftFolder(path=proof.folder(left.path), mode=left.mode & widest) for left in written.emptied),
    )
    faults = [*proof.faults, *ours.faults]
    if (folder / "old").is_symlink():
        faults.append(f"{folder / 'old'} is a link")
    if not written.title.isprintable() or len(written.title) > _LONGEST_TITLE:
        faults.append("its title is no sentence")
    if faults:
        message = f"the journal {claim.origin} is not believed: it speaks of files outside of the environment"
        raise BadInput(message, evidence=faults[:5], advice=_STRANGERS)
    return swap


@dataclass
class _Proof:
    """Paths of a journal against the folders that they must lie in, with every fault that was found."""

    inside: Inside
    our_own: bool = False
    faults: list[str] = field(default_factory=list)

    def entry(self, name: str) -> Path:
        path = self.inside.path(name)
        if path is None or (not self.our_own and f"/{FOLDER}/" in f"/{name}/"):
            self.faults.append(f"not inside: {cut(name, 200)!r}")
        return path or Path(name.replace("\0", ""))

    def folder(self, name: str) -> Path:
        """No link either: what is done to a folder would be done to the one that it leads to."""
        path = self.entry(name)
        if os.path.islink(path):  # noqa: PTH114 Path.is_symlink raises for a name that is too long
            self.faults.append(f"a link: {cut(name, 200)!r}")
        return path


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
