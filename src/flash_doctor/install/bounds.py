"""What staged files may not do in a target: leave it, take a folder's place or ours, overwrite what others own."""

from __future__ import annotations

import filecmp
from typing import TYPE_CHECKING

from flash_doctor.install.files import is_there
from flash_doctor.install.journal_text import FOLDER
from flash_doctor.install.swap import destinations, recorded, staged_site
from flash_doctor.system.inside import Inside

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from packaging.utils import NormalizedName

    from flash_doctor.model import Package

_SHOWN = 5


def trespasses(
    staged: Path, *, removed: Collection[Package], others: Collection[Package], site: Path, prefix: Path
) -> tuple[str, ...]:
    """Why the files under a staging prefix may not go where they would; empty when all of them may.

    Args:
        staged: a prefix laid out like the target's, made by an installer.
        removed: distributions that go, whose files may be replaced.
        others: distributions that stay.
        site: the target's folder for compiled packages.
        prefix: the target's own prefix.
    """
    arriving = dict(destinations(staged, site, prefix))
    ours = Inside(site, prefix)
    mine = {path for package in removed for path in recorded(package, ours, strict=False)}
    owners = {path: package.name for package in others for path in recorded(package, ours, strict=False)}
    brought = _names(staged)
    found: list[str] = []
    for path, source in sorted(arriving.items()):
        if FOLDER in source.relative_to(staged).parts:
            found.append(f"{path} is a place of flash-doctor's own, where journals lie")
        elif not ours(path):
            found.append(f"{path.parent} leads out of the target by a link, and files would be written there")
        elif path.is_dir() and not path.is_symlink():
            found.append(f"{path} is a folder, and a file would take its place")
        elif path not in mine and is_there(path) and not _same(path, source):
            found += _overwritten(path, owners.get(path), brought, site)
    return tuple(dict.fromkeys(found))[:_SHOWN]


def _overwritten(path: Path, owner: NormalizedName | None, brought: Collection[str], site: Path) -> Iterator[str]:
    """Relatives share folders (flash-attn and flash-attn-4, the packages of nvidia), and so does what nobody owns."""
    if owner is None and not path.is_relative_to(site):
        yield f"{path} would be overwritten, which is there and belongs to no package that is replaced"
    elif owner is not None and _family(owner) not in map(_family, brought):
        yield f"{path} of {owner} would be overwritten"


def _names(staged: Path) -> set[str]:
    """The distributions that are staged."""
    folders = staged_site(staged).glob("*.dist-info")
    return {path.name.partition("-")[0].lower().replace("_", "-").replace(".", "-") for path in folders}


def _family(name: str) -> str:
    return name.partition("-")[0]


def _same(path: Path, source: Path) -> bool:
    return path.is_file() and source.is_file() and filecmp.cmp(path, source, shallow=False)
