"""Whether starting a Python as root would run another user's code: his start-up files run before our first line."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import ForeignTarget
from flash_doctor.system.files import read_regular
from flash_doctor.system.owner import from_outside, user_name

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTINGS = "pyvenv.cfg"
# what `site` runs or reads before any program: he who may write into a folder of packages can leave them in root's
_STARTING = ("*.pth", "sitecustomize*", "usercustomize*")
_LONGEST_PTH = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user whom root starts something as: his number, group and other groups."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def demand_ours(python: Path) -> None:
    """Refuse, as root, an interpreter whose files another user owns; any other user runs with his own rights only.

    What we run from ourselves is no question any more.

    Raises:
        ForeignTarget: it is another user's; `uid` names him, where it is one alone.
    """
    if os.geteuid() != 0:
        return
    owners: dict[int, Path] = {}
    ours = None
    for place in dict.fromkeys(_places(python)):
        uid = _owner(place)
        if uid in {0, None}:
            continue
        ours = ours if ours is not None else frozenset(_places(Path(sys.executable)))
        if place not in ours:
            owners.setdefault(uid or 0, Path(place))
    if owners:
        raise _refused(python, owners)


def _places(python: Path) -> Iterator[str]:
    """The files and folders that decide what a start of it runs: as it is called, behind its links, and its base.

    Text, since a standard library has 200 entries, of which Path would make as many objects at every start.
    """
    for path in (python, Path(os.path.realpath(python))):
        prefix = path.parent.parent
        yield from map(str, (path, path.parent, prefix))
        yield from _libraries(prefix)
        if base := _base(prefix / _SETTINGS):
            yield from map(str, (prefix / _SETTINGS, base, base.parent))
            yield from _libraries(base.parent)


def _libraries(prefix: Path) -> Iterator[str]:
    """The standard library with its modules, the folders of packages, and what a start runs of them."""
    for library in ("lib", "lib64"):
        for version in (prefix / library).glob("python*"):
            yield from map(str, (version.parent, version))
            yield from (entry.path for entry in _entries(str(version)))
            for name in ("site-packages", "dist-packages"):
                yield str(version / name)
                yield from _start_files(version / name)


def _start_files(packages: Path) -> Iterator[str]:
    """Those in a folder of packages, and in the folders that a .pth file adds to the path."""
    for name, path in _starting(packages, _STARTING):
        yield path
        if name.endswith(".pth"):
            for folder in _added(Path(path)):
                yield from (other for _, other in _starting(folder, _STARTING[1:]))


def _starting(folder: Path, patterns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for entry in _entries(str(folder)):
        if any(fnmatchcase(entry.name, pattern) for pattern in patterns):
            yield entry.name, entry.path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What lies in a folder; nothing where there is none, or none that we may read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _added(listing: Path) -> Iterator[Path]:
    """The folders that a .pth file names."""
    try:
        lines = read_regular(listing, _LONGEST_PTH).decode("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        name = line.strip()
        if name and "\0" not in name and not name.startswith(("#", "import ", "import\t")):
            yield listing.parent / name


def _base(settings: Path) -> Path | None:
    """The folder of the interpreter that a virtual environment was made with."""
    try:
        lines = read_regular(settings).decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    named = next((value for key, _, value in (line.partition("=") for line in lines) if key.strip() == "home"), None)
    return Path(named.strip()) if named else None


def _owner(place: str) -> int | None:
    """None where there is nothing, or a user whom this container has no number for: its root is not the machine's."""
    try:
        uid = os.lstat(place).st_uid
    except OSError:
        return None
    return None if from_outside(uid) else uid


def _refused(python: Path, owners: dict[int, Path]) -> ForeignTarget:
    names = " and ".join(map(user_name, owners))
    message = f"{python} belongs to {names}, and root does not run another user's code"
    evidence = tuple(f"{place} belongs to {user_name(uid)}" for uid, place in owners.items())
    uid = next(iter(owners)) if len(owners) == 1 else None
    advice = "Give all of it to one user, then call flash-doctor as that user."
    if uid is not None:
        advice = f"Give the same command as that user, who must be able to read flash-doctor: sudo -u '#{uid}' …"
    return ForeignTarget(message, uid=uid, evidence=evidence, advice=advice)
