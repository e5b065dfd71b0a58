"""From what a target holds and what is staged to the complete list of moves: reads folders, changes nothing.

Out go the files in the replaced distributions' RECORD and what Python compiled from them, never a folder: several
distributions share one (`flash_attn/`, `nvidia/`). A path that another distribution's RECORD lists too stays, unless
a staged file replaces it; so does whatever a RECORD claims outside of the target, also by way of a link. No RECORD
means that nobody knows which files belong to a distribution: refused.
"""

from __future__ import annotations

import glob
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.install.files import is_there
from flash_doctor.install.journal import FOLDER, Arrival, LeftFolder, Swap
from flash_doctor.system.bounds import record_rows
from flash_doctor.system.inside import Inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flash_doctor.model import Package
    from flash_doctor.system.claims import Claimed


def plan_swap(
    title: str, *, removed: Iterable[Package], others: Iterable[Package], staged: Path | None, site: Path, prefix: Path
) -> Swap:
    """The moves that replace the `removed` distributions by everything under the staging prefix.

    Args:
        title: what the change is, for the journal's list.
        removed: distributions that go.
        others: distributions that stay; what their RECORDs list is theirs.
        staged: a prefix laid out like the target's, made by an installer; None when nothing comes in.
        site: the target's folder for compiled packages.
        prefix: the target's own prefix.

    Raises:
        BadInput: a distribution without a RECORD, or a staging prefix without exactly one package folder.
    """
    arriving = dict(destinations(staged, site, prefix)) if staged else {}
    leaving = going(removed, others, Inside(site, prefix))
    outgoing = sorted(path for path in leaving | set(arriving) if is_there(path))
    replaced = set(outgoing)
    return Swap(
        title=title,
        outgoing=tuple(outgoing),
        arriving=tuple(
            Arrival(staged=source, path=path, replaces=path in replaced) for path, source in sorted(arriving.items())
        ),
        made=tuple(_missing_folders(arriving)),
        emptied=tuple(_emptied(replaced, set(arriving), site)),
    )


def going(removed: Iterable[Package], others: Iterable[Package], ours: Inside) -> set[Path]:
    """What belongs to the `removed` distributions alone, with what Python compiled from it; `ours` is the target."""
    kept = {path for package in others for path in recorded(package, ours, strict=False)}
    going = {path for package in removed for path in _with_bytecode(recorded(package, ours, strict=True))}
    return {path for path in going - kept if not _is_folder(path)}


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def recorded(package: Package, ours: Inside, *, strict: bool) -> frozenset[Path]:
    """The files of a target (`ours`) that a distribution's RECORD lists, absolute, links in the last part kept.

    Raises:
        BadInput: with `strict`, when there is no RECORD (conda, egg, distribution packages, half-removed ones), or one
            that was damaged, as by a power cut.
    """
    record = package.metadata / "RECORD"
    try:
        found = accept(record_rows(record), package.location, ours)
    except (OSError, ValueError) as error:
        if not strict:
            return frozenset()
        message = f"{package.name} {package.raw_version} has no RECORD, so nobody can say which files are its own"
        advice = "It was not installed by pip or uv: remove it with the tool that installed it."
        raise BadInput(message, evidence=(f"{record}: {error}",), advice=advice) from error
    if strict and not any(path.parent == package.metadata for path in found):
        message = (
            f"the RECORD of {package.name} {package.raw_version} is damaged, so nobody can say which files are its own"
        )
        evidence = f"{record}: not even {package.metadata.name} is listed in it"
        raise BadInput(message, evidence=(evidence,), advice="Reinstall that version with pip or uv, then try again.")
    return found


def accept(claim: Claimed[list[list[str]]], location: Path, ours: Inside) -> frozenset[Path]:
    """The rows of a RECORD in the folder `location` that lie in `ours`; what it says of other files is passed over."""
    names = (os.path.join(location, row[0]) for row in claim.unproved())  # noqa: PTH118 30,000 of them
    return frozenset(path for path in map(ours.path, names) if path is not None)


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names)


def staged_sites(staged: Path) -> tuple[Path, ...]:
    """The folders of packages in a staging prefix: where the installer put metadata, not what a package brings along.

    Some Pythons have two, `lib` for what is pure and `lib64` for what is compiled.
    """
    found = sorted({path.parent for path in staged.rglob("*.dist-info") if path.is_dir()}, key=lambda path: path.parts)
    outermost = [path for path in found if not any(path != other and path.is_relative_to(other) for other in found)]
    return tuple(outermost)


def staged_site(staged: Path) -> Path:
    """The one folder of packages, once `staging` made it one."""
    found = staged_sites(staged)
    if len(found) != 1:
        message = f"the installer unpacked into {len(found)} package folders below {staged}, one was expected"
        raise BadInput(message)
    return found[0]


def destinations(staged: Path, site: Path, prefix: Path) -> Iterator[tuple[Path, Path]]:
    """Where each staged file goes: packages beside the packages, everything else to the same place in the prefix."""
    packages = staged_site(staged)
    for path in _files(staged):
        is_package = path.is_relative_to(packages)
        yield (site / path.relative_to(packages) if is_package else prefix / path.relative_to(staged)), path


def _with_bytecode(paths: frozenset[Path]) -> Iterator[Path]:
    yield from paths
    for path in paths:
        if path.suffix == ".py":
            yield from (path.parent / "__pycache__").glob(f"{glob.escape(path.stem)}.*.pyc")


def _missing_folders(paths: Iterable[Path]) -> list[Path]:
    """Folders to be made, parents first."""
    missing: set[Path] = set()
    for path in paths:
        folder = path.parent
        while folder not in missing and not folder.exists():
            missing.add(folder)
            folder = folder.parent
    return sorted(missing)


def _emptied(outgoing: set[Path], arriving: set[Path], site: Path) -> Iterator[LeftFolder]:
    """Folders that hold nothing but outgoing files: left behind, an empty one would import as a namespace package."""
    gone = set(outgoing)
    needed = {parent for path in arriving for parent in path.parents}
    candidates = {parent for path in outgoing for parent in path.parents if _below(parent, site)}
    for folder in sorted(candidates, key=lambda path: len(path.parts), reverse=True):
        if folder not in needed and all(folder / name in gone for name in os.listdir(folder)):  # noqa: PTH208 names
            gone.add(folder)
            yield LeftFolder(path=folder, mode=stat.S_IMODE(folder.stat().st_mode))


def _below(folder: Path, site: Path) -> bool:
    return folder != site and folder.is_relative_to(site) and FOLDER not in folder.parts
