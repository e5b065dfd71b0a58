"""Whether starting a Python as root would run another user's code: his start-up files run before our first line."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
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
    for place in dict.fromkeys(_places(python)):
        uid = _owner(place)
        if uid not in {0, None} and place not in _own_places():
            owners.setdefault(uid or 0, place)
    if owners:
        raise _refused(python, owners)


def _own_places() -> frozenset[Path]:
    return frozenset(_places(Path(sys.executable)))


def _places(python: Path) -> Iterator[Path]:
    """The files and folders that decide what a start of it runs: as it is called, behind its links, and its base."""
    for path in (python, Path(os.path.realpath(python))):
        prefix = path.parent.parent
        yield from (path, path.parent, prefix)
        yield from _libraries(prefix)
        if base := _base(prefix / _SETTINGS):
            yield from (prefix / _SETTINGS, base, base.parent)
            yield from _libraries(base.parent)


def _libraries(prefix: Path) -> Iterator[Path]:
    """The standard library with its modules, the folders of packages, and what a start runs of them."""
    for library in ("lib", "lib64"):
        for version in (prefix / library).glob("python*"):
            yield from (version.parent, version)
            yield from version.glob("*")
            for name in ("site-packages", "dist-packages"):
                yield version / name
                yield from _start_files(version / name)


def _start_files(packages: Path) -> Iterator[Path]:
    """Those in a folder of packages, and in the folders that a .pth file adds to the path."""
    for pattern in _STARTING:
        yield from packages.glob(pattern)
    for listing in packages.glob("*.pth"):
        for folder in _added(listing):
            for pattern in _STARTING[1:]:
                yield from folder.glob(pattern)


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


def _owner(place: Path) -> int | None:
    """None where there is nothing, or a user whom this container has no number for: its root is not the machine's."""
    try:
        uid = place.lstat().st_uid
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
