"""A swap, and the text of its journal: what is written down, and what of it is believed when it is read again.

Anybody can put a journal into an environment before somebody else treats it, so what is read is a claim (`accept`): it
is believed when only we, root or the environment's owner could have written it, and of files inside the environment.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.codec import decode
from flash_doctor.errors import BadInput
from flash_doctor.system.bounds import read_json
from flash_doctor.system.inside import Inside
from flash_doctor.system.owner import open_trusted
from flash_doctor.system.redact import cut

if TYPE_CHECKING:
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
